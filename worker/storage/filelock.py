"""A lock between processes and threads that knows whether somebody waits for it, and whom somebody else waits for.

The kernel wakes those who wait in turn, but who lets go and asks again at once is there before them. So whoever holds
it again and again looks first, and rests while others wait. Those who give way (bulk mail) stand in a line of their
own, of which one at a time is at the lock itself: everybody else (a reader who signs up) usually waits for one of them.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

# Whoever gives way goes all the same after this, and for a second does not ask again: a flood of sign-ups must not let
# the leases of bulk mail run out.
_GIVES_WAY_SECONDS = 0.05
_AFTER_A_FLOOD_SECONDS = 1.0
# The line is a courtesy. Where it does not move, its first was stopped (SIGSTOP, a frozen container): go without it.
_LINE_SECONDS = 1.0
_WITHOUT_LINE_SECONDS = 10.0
_LOOKS_EVERY_SECONDS = 0.001


class FileLock:
    """`path`: a file of its own. Beside it, `….waiting` is held by all who wait, `….urgent` by those of them who do not
    give way, and `….line` by the first of those who do. A killed holder gives all of them back.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting = path.with_name(f"{path.name}.waiting")
        self._urgent = path.with_name(f"{path.name}.urgent")
        self._line = path.with_name(f"{path.name}.line")
        self._hurries_until = 0.0

    @contextmanager
    def held(self, *, gives_way: bool = False) -> Iterator[None]:
        """Waits for its turn. Raises `OSError` where the files cannot be opened."""
        with ExitStack() as stack:
            if gives_way and time.monotonic() >= self._hurries_until:
                # given back behind the lock itself, so that who waits there is there before the next of the line
                self._let_others_pass(stack.enter_context(_opened(self._line)))
            fd = stack.enter_context(_opened(self._path))
            if not _try(fd):
                with self._seen_waiting(), ExitStack() as urgent:
                    if not gives_way:
                        fcntl.flock(urgent.enter_context(_opened(self._urgent)), fcntl.LOCK_SH)
                    fcntl.flock(fd, fcntl.LOCK_EX)
            yield

    def _let_others_pass(self, line: int) -> None:
        with self._seen_waiting():
            if not _within(_LINE_SECONDS, lambda: _try(line)):
                self._hurries_until = time.monotonic() + _WITHOUT_LINE_SECONDS
            elif not _within(_GIVES_WAY_SECONDS, lambda: not _is_held(self._urgent)):
                self._hurries_until = time.monotonic() + _AFTER_A_FLOOD_SECONDS

    @contextmanager
    def _seen_waiting(self) -> Iterator[None]:
        with _opened(self._waiting) as fd:
            fcntl.flock(fd, fcntl.LOCK_SH)
            yield

    def has_waiters(self) -> bool:
        """Whether somebody waits for it now."""
        return _is_held(self._waiting)


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


def _is_held(path: Path) -> bool:
    with _opened(path) as fd:
        return not _try(fd)


def _within(seconds: float, condition: Callable[[], bool]) -> bool:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(_LOOKS_EVERY_SECONDS)
    return True
