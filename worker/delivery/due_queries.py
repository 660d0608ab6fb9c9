"""The SQL of what has become due or is over."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Select, delete, select

from worker.delivery.queries import AnyRow
from worker.domain.delivery import OPEN, DeliveryStatus
from worker.storage.models import AttemptRow, DeliveryRow, EventRow

_D = DeliveryRow


def _locked(statement: Select[*tuple[Any, ...]], connection: Connection) -> Sequence[AnyRow]:
    if connection.dialect.name == "postgresql":
        statement = statement.with_for_update(skip_locked=True)
    return connection.execute(statement).all()


def due_retries(connection: Connection, now: datetime, longest_wait: timedelta, limit: int) -> Sequence[AnyRow]:
    """(id, slice_id, reason) of deferred rows whose time has come.

    Nobody waits for longer than `longest_wait`: who seems to was dated by a clock that was wrong, and is due.
    """
    deferred = select(_D.id, _D.slice_id, _D.reason).where(_D.status == DeliveryStatus.DEFERRED)
    deferred = deferred.order_by(_D.next_attempt_at)
    due = _locked(deferred.where(_D.next_attempt_at <= now).limit(limit), connection)
    if len(due) == limit:
        return due
    # a question of its own: one with OR would read through all that wait
    ahead = deferred.where(_D.next_attempt_at > now + longest_wait).limit(limit - len(due))
    return [*due, *_locked(ahead, connection)]


def expired_in_queue(connection: Connection, now: datetime, limit: int) -> Sequence[AnyRow]:
    """(id, slice_id, reason) of queued rows whose hard end is past."""
    statement = select(_D.id, _D.slice_id, _D.reason).where(
        _D.status == DeliveryStatus.QUEUED, _D.expires_at.is_not(None), _D.expires_at <= now
    )
    return _locked(statement.limit(limit), connection)


def delete_transactional(connection: Connection, before: datetime, limit: int) -> int:
    """The first finished deliveries of no campaign that were made before, with their attempts; how many.

    By id, and so by time: of each status, those that its index has first.
    """
    ids: list[int] = []
    for status in sorted(set(DeliveryStatus) - OPEN):
        first = select(_D.id, _D.created_at).where(_D.campaign_id.is_(None), _D.status == status)
        rows = connection.execute(first.order_by(_D.id).limit(limit - len(ids)))
        ids += [row.id for row in rows if row.created_at < before]
    ended = select(_D.id).where(_D.id.in_(ids), _D.status.not_in(sorted(OPEN)))
    gone = [row.id for row in _locked(ended, connection)] if ids else []
    if gone:
        connection.execute(delete(AttemptRow).where(AttemptRow.delivery_id.in_(gone)))
        connection.execute(delete(_D).where(_D.id.in_(gone)))
    return len(gone)


def delete_events(connection: Connection, before: datetime, limit: int) -> int:
    old = select(EventRow.id).where(EventRow.received_at < before).order_by(EventRow.received_at).limit(limit)
    return connection.execute(delete(EventRow).where(EventRow.id.in_(old))).rowcount
