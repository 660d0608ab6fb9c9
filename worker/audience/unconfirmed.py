"""Sign-ups that nobody confirmed are forgotten after a while: nobody consented to being kept (GDPR Art. 5(1)(e))."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection

from worker.audience import queries_erasing, queries_unconfirmed
from worker.audience.queries import AnyRow
from worker.domain.clock import Clock
from worker.storage.database import Database

SET_SIZE = 250
# For each subscription that goes the database looks through the deliveries for one that refers to it, and on SQLite
# everybody who writes waits meanwhile: sets begin small and grow while they are quick.
_FIRST_SET = 10
_QUICK_SECONDS = 0.05
# One look takes no longer than this; the next goes on.
_BUDGET_SECONDS = 3.0


class Unconfirmed:
    """`keep`: how long after the last request, or mail for it, a subscription that was never confirmed stays."""

    def __init__(self, database: Database, clock: Clock, keep: timedelta) -> None:
        self._database = database
        self._clock = clock
        self._keep = keep

    def forget(self) -> int:
        """Remove them, in sets, with their consents, and subscribers that are on no other list; how many went."""
        until, before = self._clock.ticks() + _BUDGET_SECONDS, self._clock.now() - self._keep
        cursor = total = 0
        size = _FIRST_SET
        while self._clock.ticks() < until:
            # looked for outside the transaction that removes them: this walks past every subscription there is
            with self._database.read() as connection:
                found = queries_unconfirmed.never_confirmed(connection, before, cursor, size)
            if not found:
                break
            began = self._clock.ticks()
            with self._database.write() as connection:
                total += _forget(connection, found, before)
            quick = self._clock.ticks() - began < _QUICK_SECONDS
            cursor, size = found[-1].id, min(size * 5, SET_SIZE) if quick else max(size // 5, 1)
        return total


def _forget(connection: Connection, found: Sequence[AnyRow], before: datetime) -> int:
    """Of those that were found, the ones that are still to go."""
    subscribers = queries_unconfirmed.locked(connection, sorted({row.subscriber_id for row in found}))
    going = queries_unconfirmed.over(connection, before, [row.id for row in found], subscribers)
    if not going:
        return 0
    theirs = sorted({row.subscriber_id for row in found if row.id in set(going)})
    queries_unconfirmed.delete_subscriptions(connection, going, theirs)
    alone = queries_unconfirmed.on_no_list(connection, theirs)
    # as in an erasure: the mails stay in the counts, without the address
    queries_erasing.clear_deliveries(connection, queries_unconfirmed.deliveries_of(connection, alone))
    queries_unconfirmed.delete_subscribers(connection, alone)
    return len(going)
