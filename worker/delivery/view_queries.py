"""The SQL of what is shown of deliveries. Lists are walked by id: page ten thousand costs what page one does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, func, select

from worker.domain.delivery import DeliveryStatus
from worker.storage import spans
from worker.storage.models import AttemptRow, DeliveryRow, SliceRow, TallyRow

AnyRow = Row[*tuple[Any, ...]]
_D = DeliveryRow

_SHOWN = (
    _D.id, _D.publication, _D.kind, _D.campaign_id, _D.address, _D.status, _D.reason, _D.next_attempt_at,
    _D.attempts, _D.last_attempt_at, _D.code, _D.enhanced, _D.reply, _D.created_at,
)  # fmt: skip


def one(connection: Connection, delivery_id: int) -> AnyRow | None:
    return connection.execute(_shown().where(_D.id == delivery_id)).one_or_none()


def of_campaign(
    connection: Connection, campaign_id: int, status: str | None, after: int, limit: int
) -> Sequence[AnyRow]:
    """In the order of their ids."""
    lots = spans.walk(connection, _shown(), campaign_id, status, after, limit)
    return [row for lot in lots for row in lot]


def with_status(
    connection: Connection, status: str | None, publication: str | None, after: int, limit: int, *,
    transactional_only: bool,
) -> Sequence[AnyRow]:  # fmt: skip
    """By id, over all campaigns and transactional mail.

    The tallies tell which campaigns have any, so that looking for the few that failed reads none of the millions
    that did not.
    """
    ids = _transactional(connection, status, publication, after, limit)
    for campaign_id in () if transactional_only else _campaigns_with(connection, status, publication):
        lots = spans.walk(connection, select(_D.id), campaign_id, status, after, limit)
        ids += [row.id for lot in lots for row in lot]
    return connection.execute(_shown().where(_D.id.in_(sorted(ids)[:limit])).order_by(_D.id)).all()


def _transactional(
    connection: Connection, status: str | None, publication: str | None, after: int, limit: int
) -> list[int]:
    """The first of each status, which is how their index has them."""
    ids: list[int] = []
    for one in DeliveryStatus if status is None else (status,):
        statement = select(_D.id).where(_D.campaign_id.is_(None), _D.status == one, _D.id > after)
        if publication is not None:
            statement = statement.where(_D.publication == publication)
        ids += connection.execute(statement.order_by(_D.id).limit(limit)).scalars()
    return ids


def _campaigns_with(connection: Connection, status: str | None, publication: str | None) -> Sequence[int]:
    statement = (
        select(SliceRow.campaign_id)
        .join(TallyRow, TallyRow.slice_id == SliceRow.id)
        .where(TallyRow.status == status, TallyRow.n > 0, SliceRow.campaign_id.is_not(None))
    )
    if publication is not None:
        statement = statement.where(SliceRow.publication == publication)
    return [row.campaign_id for row in connection.execute(statement.distinct())]


def attempts_of(connection: Connection, delivery_ids: Sequence[int]) -> Sequence[AnyRow]:
    """(delivery_id, at, outcome, code, enhanced, reply), the oldest first."""
    statement = select(
        AttemptRow.delivery_id, AttemptRow.at, AttemptRow.outcome, AttemptRow.code, AttemptRow.enhanced,
        AttemptRow.reply,
    ).where(AttemptRow.delivery_id.in_(delivery_ids))  # fmt: skip
    return connection.execute(statement.order_by(AttemptRow.id)).all()


def totals(connection: Connection) -> Sequence[AnyRow]:
    """(publication, kind, status, reason, n) from the tallies; deliveries themselves are never counted."""
    statement = (
        select(
            SliceRow.publication, SliceRow.kind, TallyRow.status, TallyRow.reason, func.sum(TallyRow.n).label("n")
        )
        .join(TallyRow, TallyRow.slice_id == SliceRow.id)
        .group_by(SliceRow.publication, SliceRow.kind, TallyRow.status, TallyRow.reason)
    )
    return connection.execute(statement).all()


def _shown() -> Select[*tuple[Any, ...]]:
    return select(*_SHOWN)
