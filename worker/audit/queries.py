"""The SQL of the quick looks: probes of indexes and small tables, so that each scrape can afford them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, exists, func, or_, select, text

from worker.domain.campaign import CampaignStatus
from worker.domain.delivery import DeliveryStatus
from worker.storage.models import GOING, CampaignRow, DeliveryRow, LeaseRow, SliceRow, SlotRow, TallyRow

AnyRow = Row[*tuple[Any, ...]]
_C, _D, _L = CampaignRow, DeliveryRow, LeaseRow

# More is not counted: a thousand say as much as a million.
MOST = 1000


def leases(connection: Connection, before: datetime) -> Sequence[AnyRow]:
    """(id, owner, expires_at, rows: whether any) of those claimed before; one for each claim in flight, so few."""
    held = exists().where(_D.lease_id == _L.id)
    return connection.execute(
        select(_L.id, _L.owner, _L.expires_at, held.label("rows")).where(_L.claimed_at < before).order_by(_L.id)
    ).all()


def sending_without_lease(connection: Connection) -> int:
    gone = ~exists().where(_L.id == _D.lease_id)
    return _bounded(connection, select(_D.id).where(_D.lease_id.is_not(None), gone))


def overdue_retries(connection: Connection, before: datetime) -> tuple[int, datetime | None]:
    """How many, and when the first was due."""
    due = select(_D.id).where(_D.status == DeliveryStatus.DEFERRED, _D.next_attempt_at < before)
    n = _bounded(connection, due)
    first = select(func.min(_D.next_attempt_at)).where(_D.status == DeliveryStatus.DEFERRED)
    return n, connection.execute(first).scalar_one() if n else None


def overdue_expiries(connection: Connection, before: datetime) -> int:
    """Queued or deferred mail whose hard end is past."""
    queued = select(_D.id).where(
        _D.status == DeliveryStatus.QUEUED, _D.expires_at.is_not(None), _D.expires_at < before
    )
    deferred = select(_D.id).where(
        _D.status == DeliveryStatus.DEFERRED, _D.next_attempt_at < before, _D.expires_at < before
    )
    return _bounded(connection, queued) + _bounded(connection, deferred)


def unknown(connection: Connection) -> Sequence[AnyRow]:
    """(campaign_id or None, n) of outcomes that are held, by the tallies."""
    n = func.sum(TallyRow.n).label("n")
    statement = select(SliceRow.campaign_id, n).join(TallyRow, TallyRow.slice_id == SliceRow.id)
    statement = statement.where(TallyRow.status == DeliveryStatus.UNKNOWN).group_by(SliceRow.campaign_id)
    return connection.execute(statement.having(n > 0).order_by(SliceRow.campaign_id)).all()


def last_touched(connection: Connection, chains: int) -> datetime | None:
    found: datetime | None = connection.execute(
        select(func.max(SlotRow.touched_at)).where(SlotRow.slot < chains)
    ).scalar_one()
    return found


def failed_campaigns(connection: Connection) -> Sequence[AnyRow]:
    """(id, reason)"""
    return connection.execute(
        select(_C.id, _C.reason).where(_C.status == CampaignStatus.FAILED).order_by(_C.id)
    ).all()


def planning_campaigns(connection: Connection, before: datetime) -> Sequence[int]:
    """Released before that moment, and not planned to the end."""
    statement = select(_C.id).where(text(GOING), _C.status == CampaignStatus.PLANNING, _C.released_at < before)
    return connection.execute(statement.order_by(_C.id)).scalars().all()


def newest_slice(connection: Connection, campaign_id: int) -> datetime | None:
    """When the last of its deliveries were planned."""
    found: datetime | None = connection.execute(
        select(func.max(SliceRow.planned_at)).where(SliceRow.campaign_id == campaign_id)
    ).scalar_one()
    return found


def unserved(connection: Connection, ids: Sequence[int], since: datetime) -> list[int]:
    """Those of these campaigns that have had no turn since then."""
    statement = select(_C.id).where(_C.id.in_(ids), or_(_C.served_at.is_(None), _C.served_at < since))
    return list(connection.execute(statement.order_by(_C.id)).scalars())


def planning_count(connection: Connection) -> int:
    statement = select(func.count()).where(text(GOING), _C.status == CampaignStatus.PLANNING)
    return int(connection.execute(statement).scalar_one())


def _bounded(connection: Connection, statement: Any) -> int:
    """How many, `MOST` at most."""
    return int(connection.execute(select(func.count()).select_from(statement.limit(MOST).subquery())).scalar_one())
