"""The SQL of the intake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, and_, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from worker.domain.events import EventStatus
from worker.storage.models import EventRow

_KEY = ("publication", "source", "event_id")
_SHOWN = (
    EventRow.id, EventRow.publication, EventRow.event_id, EventRow.source, EventRow.type, EventRow.occurred_at,
    EventRow.received_at, EventRow.status, EventRow.note, EventRow.campaign_id,
)  # fmt: skip
# Accepted, and nothing to show for it; of one that was erased the note went with the rest.
_WITHOUT_EFFECT = and_(EventRow.status == EventStatus.ACCEPTED, EventRow.note == "")


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
    if "\0" in event_id + (source or ""):
        # no event has one, and PostgreSQL cannot even be asked for it
        return None
    statement = select(*_SHOWN).where(EventRow.publication == publication, EventRow.event_id == event_id)
    if source is not None:
        statement = statement.where(EventRow.source == source)
    return connection.execute(statement.order_by(EventRow.id.desc()).limit(1)).one_or_none()


def list_events(
    connection: Connection, publication: str | None, status: str | None, after: int, limit: int
) -> Sequence[Row[*tuple[Any, ...]]]:
    """By their number, those above `after`."""
    statement = select(*_SHOWN).where(EventRow.id > after)
    if publication is not None:
        statement = statement.where(EventRow.publication == publication)
    if status is not None:
        statement = statement.where(EventRow.status == status)
    return connection.execute(statement.order_by(EventRow.id).limit(limit)).all()


def lock_event(connection: Connection, number: int) -> Row[*tuple[Any, ...]] | None:
    """With its data, kept still."""
    statement = select(*_SHOWN, EventRow.data).where(EventRow.id == number)
    return connection.execute(statement.with_for_update()).one_or_none()


def without_effect(
    connection: Connection, after: int, until: int, types: Sequence[str]
) -> Sequence[Row[*tuple[Any, ...]]]:
    """(id, data) among the numbers after `after` up to `until` of events that led to nothing: accepted without a word,
    or ignored when their type was not known yet."""
    then = and_(EventRow.status == EventStatus.IGNORED, EventRow.type.in_(types))
    statement = select(EventRow.id, EventRow.data).where(EventRow.id > after, EventRow.id <= until)
    return connection.execute(statement.where(or_(_WITHOUT_EFFECT, then)).order_by(EventRow.id)).all()


def page_end(connection: Connection, after: int, limit: int) -> int | None:
    """The number that ends a page of so many events; None where there are no more."""
    page = select(EventRow.id).where(EventRow.id > after).order_by(EventRow.id).limit(limit).subquery()
    end: int | None = connection.execute(select(func.max(page.c.id))).scalar_one()
    return end


def accept(connection: Connection, number: int) -> None:
    connection.execute(update(EventRow).where(EventRow.id == number).values(status=EventStatus.ACCEPTED))
