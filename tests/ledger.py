"""Rows for tests that need a campaign with readers and queued deliveries, without going through intake."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.orm import InstrumentedAttribute

from worker.domain.audience import SubscriptionStatus
from worker.domain.campaign import CampaignStatus
from worker.domain.delivery import DeliveryStatus, Kind
from worker.storage.database import Database
from worker.storage.models import (
    CampaignRow,
    DeliveryRow,
    SliceRow,
    SubscriberRow,
    SubscriptionRow,
    TallyRow,
)  # fmt: skip
from worker.storage.moves import add_tallies

POST: dict[str, Any] = {
    "id": "post-1", "title": "A post", "url": "https://blog.example/a-post/", "html": "<p>Hello</p>",
    "published_at": "2025-02-09T14:05:00Z",
}  # fmt: skip


@dataclass(frozen=True)
class Seeded:
    campaign_id: int
    slice_id: int
    deliveries: tuple[int, ...]
    subscriptions: tuple[int, ...]
    subscribers: tuple[int, ...]


def seed_campaign(
    database: Database, now: datetime, readers: int, *, publication: str = "daily", post_id: str = "post-1",
    destination: str = "", status: CampaignStatus = CampaignStatus.SENDING,
) -> Seeded:  # fmt: skip
    """A campaign whose `readers` active subscribers each have one queued delivery."""
    with database.write() as connection:
        campaign = connection.execute(
            insert(CampaignRow)
            .values(publication=publication, post_id=post_id, list_slug="posts", labels=[], post=POST, status=status,
                    created_at=now, released_at=now, planned_at=now)
            .returning(CampaignRow.id)
        ).scalar_one()  # fmt: skip
        slice_id = connection.execute(
            insert(SliceRow)
            .values(publication=publication, kind=Kind.NEW_POST, campaign_id=campaign, planned_at=now)
            .returning(SliceRow.id)
        ).scalar_one()  # fmt: skip
        addresses = [f"reader{n}.{post_id}@example.com" for n in range(readers)]
        subscribers = _insert(connection, SubscriberRow.id, [
            {"publication": publication, "address": address, "email": address, "domain": "example.com",
             "name": f"Reader {n}", "created_at": now}
            for n, address in enumerate(addresses)
        ])  # fmt: skip
        subscriptions = _insert(connection, SubscriptionRow.id, [
            {"publication": publication, "list_slug": "posts", "subscriber_id": subscriber,
             "status": SubscriptionStatus.ACTIVE, "created_at": now}
            for subscriber in subscribers
        ])  # fmt: skip
        deliveries = _insert(connection, DeliveryRow.id, [
            {"publication": publication, "kind": Kind.NEW_POST, "campaign_id": campaign, "slice_id": slice_id,
             "subscriber_id": subscriber, "subscription_id": subscription, "address": address,
             "destination": destination, "dedupe_key": f"c:{campaign}:{subscriber}",
             "status": DeliveryStatus.QUEUED, "created_at": now}
            for subscriber, subscription, address in zip(subscribers, subscriptions, addresses, strict=True)
        ])  # fmt: skip
        span = {"first_id": min(deliveries, default=None), "last_id": max(deliveries, default=None)}
        connection.execute(update(SliceRow).where(SliceRow.id == slice_id).values(span))
        add_tallies(connection, Counter({(slice_id, str(DeliveryStatus.QUEUED), ""): readers}))
    return Seeded(campaign, slice_id, tuple(deliveries), tuple(subscriptions), tuple(subscribers))


def _insert(connection: Connection, id_of: InstrumentedAttribute[int], rows: list[dict[str, object]]) -> list[int]:
    """Their ids, in order."""
    if not rows:
        return []
    statement = insert(id_of.class_).returning(id_of, sort_by_parameter_order=True)
    return list(connection.execute(statement, rows).scalars())


def statuses(database: Database) -> Counter[str]:
    """Deliveries by status, counted from the rows."""
    with database.read() as connection:
        return Counter(connection.execute(select(DeliveryRow.status)).scalars())


def tallies(database: Database) -> Counter[str]:
    """The same from the counters; the two must always agree."""
    found: Counter[str] = Counter()
    with database.read() as connection:
        for row in connection.execute(select(TallyRow.status, TallyRow.n)):
            found[row.status] += row.n
    return +found


def assert_counters_agree(database: Database) -> None:
    with database.read() as connection:
        counted: Counter[tuple[int, str, str]] = Counter(
            (row.slice_id, row.status, row.reason)
            for row in connection.execute(select(DeliveryRow.slice_id, DeliveryRow.status, DeliveryRow.reason))
        )
        kept = {
            (row.slice_id, row.status, row.reason): row.n
            for row in connection.execute(select(TallyRow.slice_id, TallyRow.status, TallyRow.reason, TallyRow.n))
            if row.n
        }
    assert dict(counted) == kept
