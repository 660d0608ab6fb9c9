"""The SQL of the views: counts come from the tallies, so that no look counts ten million rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, func, select, text, update

from worker.campaigns.queries import HEAD, Rows
from worker.domain.campaign import CampaignStatus
from worker.domain.delivery import DeliveryStatus
from worker.storage.models import GOING, CampaignRow, DeliveryRow, SliceRow, TallyRow

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


def queued(connection: Connection, campaign_ids: Sequence[int] | None) -> int:
    """Deliveries in the queue by the tallies: of these campaigns, or (None) the transactional ones."""
    if campaign_ids is None:
        chosen: ColumnElement[bool] = SliceRow.campaign_id.is_(None)
    else:
        chosen = SliceRow.campaign_id.in_(campaign_ids)
    statement = (
        select(func.coalesce(func.sum(TallyRow.n), 0))
        .join(SliceRow, TallyRow.slice_id == SliceRow.id)
        .where(chosen, TallyRow.status == DeliveryStatus.QUEUED)
    )
    return int(connection.execute(statement).scalar_one())


def oldest_queued(connection: Connection, campaign_id: int | None) -> datetime | None:
    """When the first queued delivery by id was made."""
    statement = select(_D.created_at).where(_D.campaign_id == campaign_id, _D.status == DeliveryStatus.QUEUED)
    found: datetime | None = connection.execute(statement.order_by(_D.id).limit(1)).scalar_one_or_none()
    return found


def being_planned(connection: Connection, before: datetime) -> list[int]:
    """Made before that moment and not yet planned to the end."""
    statement = select(_C.id).where(text(GOING), _C.status == CampaignStatus.PLANNING, _C.created_at < before)
    return list(connection.execute(statement.order_by(_C.id)).scalars())


def planned_sending(connection: Connection) -> list[int]:
    """Going campaigns whose end may have come: planned, and without rows that are still to be put back."""
    statement = select(_C.id).where(text(GOING), _C.status == CampaignStatus.SENDING, _C.finished_at.is_(None))
    return list(connection.execute(statement.order_by(_C.id)).scalars())


def finish(connection: Connection, campaign_id: int, now: datetime) -> bool:
    statement = update(_C).where(_C.id == campaign_id, _C.status == CampaignStatus.SENDING, _C.finished_at.is_(None))
    return connection.execute(statement.values(status=CampaignStatus.FINISHED, finished_at=now)).rowcount == 1
