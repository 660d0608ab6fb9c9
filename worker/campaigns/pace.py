"""The pace of long work on the ledger: transactions of a fitting size, for a bounded time, with rests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from worker.domain.clock import Clock
from worker.storage.database import Database

# A task that goes on any longer keeps others from their turn; it rings for its own continuation instead.
TASK_SECONDS = 3.0

# SQLite has one writer at a time, and a confirmation must not wait for us.
_SQLITE_TARGET_SECONDS = 0.008
_TARGET_SECONDS = 0.1

# The first is small, so that the first mails go at once and a slow disk is found out gently. Others are no smaller
# than a commit is worth: half of what one of 500 rows takes does not depend on its rows, and a machine that is busy
# with something else makes all of them look slow.
_FIRST, _LEAST, _MOST = 200, 500, 5000

Sleep = Callable[[float], None]


class Pace:
    """One run of slices, for `seconds`. `size`: how many rows the next may have; it follows what the last took.

    `gentle`: nobody waits for it, so it rests after each slice, whoever else works.
    """

    def __init__(
        self, database: Database, clock: Clock, sleep: Sleep = time.sleep, *, seconds: float = TASK_SECONDS,
        gentle: bool = False,
    ) -> None:  # fmt: skip
        self._database = database
        self._clock = clock
        self._sleep = sleep
        self._target = _SQLITE_TARGET_SECONDS if database.is_sqlite else _TARGET_SECONDS
        self._until = clock.ticks() + seconds
        self._gentle = gentle
        self.size = _FIRST

    @property
    def over(self) -> bool:
        """Whether the run has had its time."""
        return self._clock.ticks() >= self._until

    @contextmanager
    def slice(self) -> Iterator[Connection]:
        """One transaction, and a rest as long as it was where others wait to write (SQLite)."""
        with self._database.write() as connection:
            begun = self._clock.ticks()
            yield connection
        held = self._clock.ticks() - begun
        self._fit(held)
        if self._gentle or self._database.has_waiters():
            self._sleep(held)

    def _fit(self, held: float) -> None:
        """Twice as much at most, so that one lucky slice does not make the next a long one."""
        factor = min(2.0, self._target / held) if held > 0 else 2.0
        self.size = max(_LEAST, min(_MOST, round(self.size * factor)))
