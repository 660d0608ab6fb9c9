"""What has become due, and what is over: moved in small sets, whatever the sweep finds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection

from worker.delivery import due_queries, queries, warmup_queries
from worker.delivery.queries import AnyRow
from worker.domain.clock import Clock
from worker.domain.delivery import DeliveryStatus, Reason
from worker.domain.warmup import day_of
from worker.storage.database import Database
from worker.storage.moves import Move, record_moves

# See `recorder.SET_SIZE`.
_SET_SIZE = 250
# One sweep takes no longer than this over one kind of finding; the next goes on.
_BUDGET_SECONDS = 3.0

Step = Callable[[Connection, datetime], int]


class Due:
    """Each method returns how many rows it moved."""

    def __init__(self, database: Database, clock: Clock, retention: timedelta, longest_wait: timedelta) -> None:
        """`longest_wait`: the longest backoff."""
        self._database = database
        self._clock = clock
        self._retention = retention
        self._longest_wait = longest_wait

    def retries(self) -> int:
        """Deferred rows whose time has come go back to the queue."""
        return self._in_sets(self._retry_set)

    def some_retries(self) -> int:
        """One set of them, for who has no time for all."""
        with self._database.write() as connection:
            return self._retry_set(connection, self._clock.now())

    def expired(self) -> int:
        """Queued mail that is worthless by now (a confirmation whose token is over) ends."""
        return self._in_sets(_expire_set)

    def retention(self) -> int:
        """Events and finished transactional mail older than the retention go; the counts stay.

        A campaign's deliveries go all together (`campaigns.dropping`).
        """
        return self._in_sets(self._old_events) + self._in_sets(self._old_deliveries) + self._old_warmup_days()

    def _retry_set(self, connection: Connection, now: datetime) -> int:
        rows = due_queries.due_retries(connection, now, self._longest_wait, _SET_SIZE)
        return _move_all(connection, rows, DeliveryStatus.DEFERRED, DeliveryStatus.QUEUED, Reason.NONE)

    def _old_events(self, connection: Connection, now: datetime) -> int:
        return due_queries.delete_events(connection, now - self._retention, _SET_SIZE)

    def _old_deliveries(self, connection: Connection, now: datetime) -> int:
        return due_queries.delete_transactional(connection, now - self._retention, _SET_SIZE)

    def _old_warmup_days(self) -> int:
        """A few rows a day and domain."""
        with self._database.write() as connection:
            return warmup_queries.delete_before(connection, day_of(self._clock.now() - self._retention))

    def oldest_transactional(self) -> int | None:
        """The oldest queued transactional delivery, to ring for."""
        with self._database.read() as connection:
            rows = queries.peek_transactional(connection, 0, 1)
        return rows[0].id if rows else None

    def _in_sets(self, step: Step) -> int:
        until = self._clock.ticks() + _BUDGET_SECONDS
        total = 0
        while True:
            with self._database.write() as connection:
                moved = step(connection, self._clock.now())
            total += moved
            if moved < _SET_SIZE or self._clock.ticks() > until:
                return total


def _expire_set(connection: Connection, now: datetime) -> int:
    rows = due_queries.expired_in_queue(connection, now, _SET_SIZE)
    return _move_all(connection, rows, DeliveryStatus.QUEUED, DeliveryStatus.EXPIRED, Reason.EXPIRED)


def _move_all(
    connection: Connection, rows: Sequence[AnyRow], old: DeliveryStatus, new: DeliveryStatus, reason: Reason
) -> int:
    if rows:
        queries.end(connection, [row.id for row in rows], new, reason)
        places = Counter((row.slice_id, Reason(row.reason)) for row in rows)
        record_moves(connection, [Move(place, old, was, new, reason, n) for (place, was), n in places.items()])
    return len(rows)
