"""A lock between processes and threads that knows whether somebody waits for it.

The kernel wakes those who wait in turn, but who lets go and asks again at once is there before them. So whoever holds
it again and again looks first, and rests while others wait.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class FileLock:
    """`path`: a file of its own; beside it, `….waiting` is held by all who wait. A killed holder gives both back."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting = path.with_name(f"{path.name}.waiting")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Waits for its turn. Raises `OSError` where the files cannot be opened."""
        with _opened(self._path) as fd:
            if not _try(fd):
                with _opened(self._waiting) as waiting:
                    fcntl.flock(waiting, fcntl.LOCK_SH)
                    fcntl.flock(fd, fcntl.LOCK_EX)
            yield

    def has_waiters(self) -> bool:
        """Whether somebody waits for it now."""
        with _opened(self._waiting) as fd:
            return not _try(fd)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """A file opened for each turn: flock belongs to the open file, so threads queue like processes do."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield fd
    finally:
        os.close(fd)


def _try(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
