"""The SQL of the recount: pages of deliveries by id, and one slice at one moment."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, func, literal, select, union_all

from worker.storage.models import CampaignRow, DeliveryRow, SliceRow, TallyRow

AnyRow = Row[*tuple[Any, ...]]
_D, _S, _T = DeliveryRow, SliceRow, TallyRow


def page_end(connection: Connection, after: int, limit: int) -> int | None:
    """The id that ends a page of so many deliveries; None where there are no more."""
    page = select(_D.id).where(_D.id > after).order_by(_D.id).limit(limit).subquery()
    end: int | None = connection.execute(select(func.max(page.c.id))).scalar_one()
    return end


def count_page(connection: Connection, after: int, until: int) -> Sequence[AnyRow]:
    """(slice_id, status, reason, n, first, last)"""
    statement = (
        select(_D.slice_id, _D.status, _D.reason, func.count().label("n"), func.min(_D.id), func.max(_D.id))
        .where(_D.id > after, _D.id <= until)
        .group_by(_D.slice_id, _D.status, _D.reason)
    )
    return connection.execute(statement).all()


def slices(connection: Connection, after: int, limit: int) -> Sequence[AnyRow]:
    """(id, campaign_id, first_id, last_id, made: when its campaign was, reason: its campaign's) by id."""
    campaigns = CampaignRow.created_at.label("made"), CampaignRow.reason
    statement = (
        select(_S.id, _S.campaign_id, _S.first_id, _S.last_id, *campaigns)
        .outerjoin(CampaignRow, CampaignRow.id == _S.campaign_id)
        .where(_S.id > after)
    )
    return connection.execute(statement.order_by(_S.id).limit(limit)).all()


def kept(connection: Connection, first: int, last: int) -> Sequence[AnyRow]:
    """(slice_id, status, reason, n) of slices in this range of ids."""
    columns = _T.slice_id, _T.status, _T.reason, _T.n
    return connection.execute(select(*columns).where(_T.slice_id >= first, _T.slice_id <= last)).all()


def lock_tallies(connection: Connection, slice_id: int) -> None:
    """Who moves a row of it waits for us, and then adds to what we have set. In the order in which they lock, too."""
    statement = select(_T.n).where(_T.slice_id == slice_id).order_by(_T.slice_id, _T.status, _T.reason)
    connection.execute(statement.with_for_update()).all()


def both(connection: Connection, slice_id: int, span: tuple[int, int] | None) -> Sequence[AnyRow]:
    """(what: `counted` or `kept`, status, reason, n): one statement, so one moment.

    `span`: ids between which all its rows are; None for a shard, whose rows are spread over all transactional mail.
    """
    where: ColumnElement[bool] = _D.campaign_id.is_(None) if span is None else and_(_D.id >= span[0], _D.id <= span[1])
    counted = (
        select(literal("counted").label("what"), _D.status, _D.reason, func.count().label("n"))
        .where(where, _D.slice_id == slice_id)
        .group_by(_D.status, _D.reason)
    )
    tallies = select(literal("kept").label("what"), _T.status, _T.reason, _T.n).where(_T.slice_id == slice_id)
    return connection.execute(union_all(counted, tallies)).all()


def made_before(moment: datetime | None, cutoff: datetime) -> bool:
    return moment is None or moment < cutoff
