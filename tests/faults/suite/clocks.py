"""A wall clock that can be set, for Pressrun's processes only: `clock.c`, preloaded, told by a file.

The code runs as it is, Celery's scheduler and the broker's time-outs included. Debian's libfaketime was tried: its
clock_nanosleep refuses the monotonic deadlines that Python sleeps by.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SOURCE = Path(__file__).with_name("clock.c")


class ShiftedClock:
    """The clock of all processes that get `environ`. Needs a C compiler (`cc`)."""

    def __init__(self, folder: Path) -> None:
        library = folder / "clock.so"
        subprocess.run(
            ["cc", "-shared", "-fPIC", "-O2", "-Wall", "-o", str(library), str(_SOURCE), "-ldl"],
            check=True, capture_output=True,
        )  # fmt: skip
        self._file = folder / "clock"
        self._write(0)
        self.environ = {"LD_PRELOAD": str(library), "PRESSRUN_TEST_CLOCK": str(self._file)}

    @contextmanager
    def set_by(self, seconds: int) -> Iterator[None]:
        """All clocks are wrong by this much; afterwards they are right again."""
        self._write(seconds)
        try:
            yield
        finally:
            self._write(0)

    def _write(self, offset: int) -> None:
        # in place: it is mapped
        with self._file.open("r+b" if self._file.exists() else "wb") as file:
            file.write(offset.to_bytes(8, "little", signed=True))
