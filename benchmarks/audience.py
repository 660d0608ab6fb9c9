"""Readers by the million, written in sets: how they got there is not what is measured."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import Connection, insert, literal, select, text

from worker.domain.audience import SubscriptionStatus
from worker.storage.database import Database
from worker.storage.models import SubscriberRow, SubscriptionRow, SuppressionRow

_SET = 50_000
# Some who are on no list any more: each claim looks among them.
_SUPPRESSED = 10_000


def seed(database: Database, readers: int, domains: Sequence[str]) -> None:
    """`reader0@…` and so on, active on the list `posts` of `daily`, spread over the domains in turn."""
    for begin in range(0, readers, _SET):
        with database.write() as connection:
            _subscribers(connection, begin, min(begin + _SET, readers), domains)
    with database.write() as connection:
        _subscriptions(connection)
        _suppressed(connection)
    if not database.is_sqlite:
        # what autovacuum does within minutes after an import; and the import's pages are not to be written later
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))
            connection.execute(text("CHECKPOINT"))


def _subscribers(connection: Connection, begin: int, end: int, domains: Sequence[str]) -> None:
    now = datetime.now(UTC)
    rows = [
        {
            "publication": "daily", "address": f"reader{n}@{domains[n % len(domains)]}",
            "email": f"reader{n}@{domains[n % len(domains)]}", "domain": domains[n % len(domains)],
            "name": f"Reader {n}", "created_at": now,
        }
        for n in range(begin, end)
    ]  # fmt: skip
    connection.execute(insert(SubscriberRow), rows)


def _subscriptions(connection: Connection) -> None:
    readers = select(
        SubscriberRow.publication, literal("posts"), SubscriberRow.id, literal(str(SubscriptionStatus.ACTIVE)),
        SubscriberRow.created_at, SubscriberRow.created_at,
    )  # fmt: skip
    columns = ["publication", "list_slug", "subscriber_id", "status", "created_at", "confirmed_at"]
    connection.execute(insert(SubscriptionRow).from_select(columns, readers))


def _suppressed(connection: Connection) -> None:
    now = datetime.now(UTC)
    rows = [
        {"address": f"gone{n}@north.example", "publication": "daily", "reason": "bounced", "created_at": now}
        for n in range(_SUPPRESSED)
    ]
    connection.execute(insert(SuppressionRow), rows)
