"""The SQL of the views: counts come from the tallies, so that no look counts ten million rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, exists, func, or_, select, text, update

from worker.campaigns.queries import HEAD, Rows
from worker.domain.campaign import CampaignStatus
from worker.domain.delivery import OPEN, DeliveryStatus
from worker.storage.models import GOING, CampaignRow, DeliveryRow, RetryRow, SliceRow, TallyRow

_C, _D = CampaignRow, DeliveryRow

def heads(connection: Connection, limit: int, *, going_only: bool) -> Rows:
    statement = select(*HEAD).order_by(_C.id.desc()).limit(limit)
    return connection.execute(statement.where(text(GOING)) if going_only else statement).all()


def counts(connection: Connection, ids: Sequence[int]) -> Rows:
    """(campaign_id, status, n) from the tallies."""
    statement = (
        select(SliceRow.campaign_id, TallyRow.status, func.sum(TallyRow.n).label("n"))
        .join(TallyRow, TallyRow.slice_id == SliceRow.id)
        .where(SliceRow.campaign_id.in_(ids))
        .group_by(SliceRow.campaign_id, TallyRow.status)
    )
    return connection.execute(statement).all()


def retrying(connection: Connection, ids: Sequence[int]) -> dict[int, list[str]]:
    """Whose retry is not through, and which statuses it has still to do."""
    statement = select(RetryRow.campaign_id, RetryRow.statuses).where(RetryRow.campaign_id.in_(ids))
    return {row.campaign_id: row.statuses for row in connection.execute(statement)}


def queued_transactional(connection: Connection) -> int:
    """Transactional deliveries in the queue, by the tallies."""
    return _queued(connection, SliceRow.campaign_id.is_(None))


def _of_sending(beyond: datetime) -> ColumnElement[bool]:
    """Slices of campaigns that are going, and not resting beyond that moment."""
    sending = and_(text(GOING), or_(_C.rests_until.is_(None), _C.rests_until <= beyond))
    return SliceRow.campaign_id.in_(select(_C.id).where(sending))


def queued_bulk(connection: Connection, beyond: datetime) -> int:
    """Deliveries in the queue of going campaigns that do not rest beyond that moment, by the tallies."""
    return _queued(connection, _of_sending(beyond))


def _queued(connection: Connection, chosen: ColumnElement[bool]) -> int:
    statement = (
        select(func.coalesce(func.sum(TallyRow.n), 0))
        .join(SliceRow, TallyRow.slice_id == SliceRow.id)
        .where(chosen, TallyRow.status == DeliveryStatus.QUEUED)
    )
    return int(connection.execute(statement).scalar_one())


def oldest_transactional(connection: Connection) -> datetime | None:
    """When the first queued transactional delivery by id was made."""
    statement = select(_D.created_at).where(_D.campaign_id.is_(None), _D.status == DeliveryStatus.QUEUED)
    found: datetime | None = connection.execute(statement.order_by(_D.id).limit(1)).scalar_one_or_none()
    return found


def oldest_bulk(connection: Connection, beyond: datetime) -> datetime | None:
    """The same over those campaigns, by their slices that have any: rows are made with their slice."""
    statement = (
        select(func.min(SliceRow.planned_at))
        .join(TallyRow, TallyRow.slice_id == SliceRow.id)
        .where(_of_sending(beyond), TallyRow.status == DeliveryStatus.QUEUED, TallyRow.n > 0)
    )
    found: datetime | None = connection.execute(statement).scalar_one()
    return found


def being_planned(connection: Connection, before: datetime) -> list[int]:
    """Made before that moment and not yet planned to the end."""
    statement = select(_C.id).where(text(GOING), _C.status == CampaignStatus.PLANNING, _C.created_at < before)
    return list(connection.execute(statement.order_by(_C.id)).scalars())


def at_rest(connection: Connection, campaign_id: int | None = None) -> list[int]:
    """Campaigns (or this one) that are planned, with no row that is queued, sending, deferred or still to be put back.

    One statement, so one moment: for each campaign that is going one probe of the queued index, and where that finds
    nothing, its tallies. Subqueries, so that they cannot become a join of all there are.
    """
    queued = (
        select(_D.id)
        .where(_D.campaign_id == _C.id, _D.status == DeliveryStatus.QUEUED)
        .order_by(_D.destination, _D.id)
        .limit(1)
        .scalar_subquery()
    )
    is_open = (
        select(TallyRow.n)
        .join(SliceRow, SliceRow.id == TallyRow.slice_id)
        .where(SliceRow.campaign_id == _C.id, TallyRow.status.in_(sorted(OPEN)), TallyRow.n > 0)
        .limit(1)
        .correlate(_C)
        .scalar_subquery()
    )
    planned = select(_C.id).where(text(GOING), _C.status == CampaignStatus.SENDING, _C.finished_at.is_(None))
    retried = exists().where(RetryRow.campaign_id == _C.id)
    statement = planned.where(~retried, queued.is_(None), is_open.is_(None)).order_by(_C.id)
    if campaign_id is not None:
        statement = statement.where(_C.id == campaign_id)
    return list(connection.execute(statement).scalars())


def finish(connection: Connection, campaign_id: int, now: datetime) -> bool:
    statement = update(_C).where(_C.id == campaign_id, _C.status == CampaignStatus.SENDING, _C.finished_at.is_(None))
    return connection.execute(statement.values(status=CampaignStatus.FINISHED, finished_at=now)).rowcount == 1
