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

# SQLite has one writer at a time, and a confirmation must not wait for us; on PostgreSQL only the tallies
# and the campaign's row are held.
_SQLITE_TARGET_SECONDS = 0.008
_TARGET_SECONDS = 0.1

# The first is small, so that the first mails go at once and a slow disk is found out gently. A smaller one
# would not be over sooner: what a commit costs does not depend on its rows.
_FIRST, _LEAST, _MOST = 200, 200, 5000

Sleep = Callable[[float], None]


class Pace:
    """One run of slices, for `seconds`. `size`: how many rows the next may have; it follows what the last took."""

    def __init__(
        self, database: Database, clock: Clock, sleep: Sleep = time.sleep, *, seconds: float = TASK_SECONDS
    ) -> None:
        self._database = database
        self._clock = clock
        self._sleep = sleep
        self._target = _SQLITE_TARGET_SECONDS if database.is_sqlite else _TARGET_SECONDS
        self._until = clock.ticks() + seconds
        self.size = _FIRST

    @property
    def over(self) -> bool:
        """Whether the run has had its time."""
        return self._clock.ticks() >= self._until

    @contextmanager
    def slice(self) -> Iterator[Connection]:
        """One transaction. On SQLite it is followed by a rest as long as it held the lock."""
        with self._database.write() as connection:
            begun = self._clock.ticks()
            yield connection
        held = self._clock.ticks() - begun
        self._fit(held)
        if self._database.is_sqlite:
            self._sleep(held)

    def _fit(self, held: float) -> None:
        """Twice as much at most, so that one lucky slice does not make the next a long one."""
        factor = min(2.0, self._target / held) if held > 0 else 2.0
        self.size = max(_LEAST, min(_MOST, round(self.size * factor)))
