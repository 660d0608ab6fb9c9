"""The SQL of dropping: which campaigns are old enough, and what is left of one, span by span."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, delete, exists, func, or_, select, update

from worker.campaigns.queries import AnyRow
from worker.campaigns.state import AT_REST
from worker.domain.campaign import CampaignReason
from worker.storage.models import AttemptRow, CampaignRow, DeliveryRow, RetryRow, SliceRow, TallyRow

_C, _D, _S = CampaignRow, DeliveryRow, SliceRow


def oldest(connection: Connection, before: datetime) -> int | None:
    """The campaign that has been at rest for longest, since before that moment, or whose dropping was cut short."""
    some = select(_S.id).where(_S.campaign_id == _C.id, _S.last_id.is_not(None)).limit(1).scalar_subquery()
    over = or_(_C.finished_at < before, (_C.reason == CampaignReason.DROPPED) & _C.finished_at.is_not(None))
    retried = exists().where(RetryRow.campaign_id == _C.id)
    statement = select(_C.id).where(_C.status.in_(sorted(AT_REST)), over, ~retried, some.is_not(None))
    found: int | None = connection.execute(statement.order_by(_C.finished_at, _C.id).limit(1)).scalar_one_or_none()
    return found


def left(connection: Connection, campaign_id: int) -> int:
    """How many deliveries it may still have: what its slices count that are not dropped to the end."""
    statement = (
        select(func.coalesce(func.sum(TallyRow.n), 0))
        .join(_S, _S.id == TallyRow.slice_id)
        .where(_S.campaign_id == campaign_id, _S.last_id.is_not(None))
    )
    return int(connection.execute(statement).scalar_one())


def next_span(connection: Connection, campaign_id: int) -> AnyRow | None:
    """(id, first_id, last_id) of its first slice that still has rows; the campaign is locked by the caller."""
    statement = select(_S.id, _S.first_id, _S.last_id).where(_S.campaign_id == campaign_id, _S.last_id.is_not(None))
    return connection.execute(statement.order_by(_S.last_id).limit(1)).one_or_none()


def drop_rows(connection: Connection, span: AnyRow, size: int) -> int:
    """The first `size` deliveries of a span, with their attempts; how many. The span begins behind them then."""
    theirs = (_D.slice_id == span.id, _D.id >= span.first_id)
    walk = select(_D.id).where(*theirs, _D.id <= span.last_id).order_by(_D.id).offset(size - 1).limit(1)
    end: int | None = connection.execute(walk).scalar_one_or_none()
    until = span.last_id if end is None else end
    gone = (*theirs, _D.id <= until)
    tries = (AttemptRow.delivery_id >= span.first_id, AttemptRow.delivery_id <= until)
    connection.execute(delete(AttemptRow).where(*tries, AttemptRow.delivery_id.in_(select(_D.id).where(*gone))))
    n = connection.execute(delete(_D).where(*gone)).rowcount
    rest = {"first_id": until + 1} if until < span.last_id else {"first_id": None, "last_id": None}
    connection.execute(update(_S).where(_S.id == span.id).values(rest))
    return n
