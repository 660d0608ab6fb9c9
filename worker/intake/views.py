"""What became of an event, as it is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from worker.domain.errors import NotFound
from worker.intake import queries

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection


def event_number(connection: Connection, publication: str, event_id: str, source: str | None) -> int:
    """What `Intake.replay` knows it by. Raises `NotFound`."""
    row = queries.find_event(connection, publication, event_id, source)
    if row is None:
        raise NotFound("there is no such event")
    number: int = row.id
    return number


def event_view(connection: Connection, publication: str, event_id: str, source: str | None) -> dict[str, Any]:
    """`{"id", "source", "type", "status", "note", "campaign", "time", "received_at"}`; times in ISO 8601.

    Of several sources' events with this id the newest, or the one of `source`. Raises `NotFound`.
    """
    row = queries.find_event(connection, publication, event_id, source)
    if row is None:
        raise NotFound("there is no such event")
    return _object(row)


def list_events(
    connection: Connection, *, publication: str | None = None, status: str | None = None, after: int = 0,
    limit: int = 100,
) -> list[dict[str, Any]]:  # fmt: skip
    """The same, with `number` and `publication` besides, by number, those above `after`."""
    found = queries.list_events(connection, publication, status, after, limit)
    return [{"number": row.id, "publication": row.publication, **_object(row)} for row in found]


def _object(row: Any) -> dict[str, Any]:
    return {
        "id": row.event_id, "source": row.source, "type": row.type, "status": row.status, "note": row.note,
        "campaign": row.campaign_id, "time": _iso(row.occurred_at), "received_at": _iso(row.received_at),
    }  # fmt: skip


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
