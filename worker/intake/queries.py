"""The SQL of the intake."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, select, update
from sqlalchemy.dialects import postgresql, sqlite

from worker.storage.models import EventRow

_KEY = ("publication", "source", "event_id")


def add_event(connection: Connection, values: Mapping[str, Any]) -> int | None:
    """The new row's id, or None where its key is on record.

    On PostgreSQL this waits for a transaction that is just adding the same key, so that of doubles at the
    same moment one is new and the others find it committed.
    """
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    statement = insert(EventRow).values(values).on_conflict_do_nothing(index_elements=_KEY).returning(EventRow.id)
    row_id: int | None = connection.execute(statement).scalar_one_or_none()
    return row_id


def recorded(connection: Connection, publication: str, source: str, event_id: str) -> Row[str, str]:
    """(body_hash, note) of an event that is on record."""
    return connection.execute(
        select(EventRow.body_hash, EventRow.note).where(
            EventRow.publication == publication, EventRow.source == source, EventRow.event_id == event_id
        )
    ).one()


def conclude(
    connection: Connection, row_id: int, note: str, campaign_id: int | None, subscriber_id: int | None
) -> None:
    """What the event led to."""
    connection.execute(
        update(EventRow)
        .where(EventRow.id == row_id)
        .values(note=note, campaign_id=campaign_id, subscriber_id=subscriber_id)
    )


def find_event(
    connection: Connection, publication: str, event_id: str, source: str | None
) -> Row[*tuple[Any, ...]] | None:
    """The newest event with this id; different sources may have used the same one."""
    statement = select(
        EventRow.event_id, EventRow.source, EventRow.type, EventRow.occurred_at, EventRow.received_at,
        EventRow.status, EventRow.note, EventRow.campaign_id,
    ).where(EventRow.publication == publication, EventRow.event_id == event_id)  # fmt: skip
    if source is not None:
        statement = statement.where(EventRow.source == source)
    return connection.execute(statement.order_by(EventRow.id.desc()).limit(1)).one_or_none()
