"""Transactional deliveries are put here, in the transaction of what they follow from."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite

from worker.domain.delivery import DeliveryStatus, Kind
from worker.storage.models import DeliveryRow, SliceRow
from worker.storage.moves import add_tallies

# Enough that sign-ups committed at the same moment seldom wait for one counter.
SHARDS = 16


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One transactional mail to be. `expires_at`: when it is worthless (a confirmation with its token)."""

    publication: str
    kind: Kind
    address: str
    destination: str
    dedupe_key: str
    expires_at: datetime | None
    subscriber_id: int | None = None
    subscription_id: int | None = None
    shows_campaign_id: int | None = None


def put(connection: Connection, outgoing: Outgoing, now: datetime) -> int | None:
    """Queue it; the new delivery's id, or None where its `dedupe_key` is already on record."""
    slice_id = _shard(connection, outgoing)
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    statement = (
        insert(DeliveryRow)
        .values(
            publication=outgoing.publication, kind=outgoing.kind, slice_id=slice_id,
            subscriber_id=outgoing.subscriber_id, subscription_id=outgoing.subscription_id,
            address=outgoing.address, destination=outgoing.destination, dedupe_key=outgoing.dedupe_key,
            shows_campaign_id=outgoing.shows_campaign_id,
            status=DeliveryStatus.QUEUED, expires_at=outgoing.expires_at, created_at=now,
        )
        .on_conflict_do_nothing(index_elements=["dedupe_key"])
        .returning(DeliveryRow.id)
    )
    delivery_id: int | None = connection.execute(statement).scalar_one_or_none()
    if delivery_id is not None:
        add_tallies(connection, Counter({(slice_id, DeliveryStatus.QUEUED, ""): 1}))
    return delivery_id


def _shard(connection: Connection, outgoing: Outgoing) -> int:
    key = {
        "publication": outgoing.publication, "kind": str(outgoing.kind),
        "shard": (outgoing.subscription_id or 0) % SHARDS,
    }
    find = select(SliceRow.id).filter_by(**key)
    found = connection.execute(find).scalar_one_or_none()
    if found is None:
        insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
        connection.execute(
            insert(SliceRow).values(key).on_conflict_do_nothing(index_elements=["publication", "kind", "shard"])
        )
        found = connection.execute(find).scalar_one()
    return found
