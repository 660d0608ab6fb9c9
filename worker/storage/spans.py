"""A campaign's deliveries by id: through the spans of its slices, and only of those that have any of what is asked for.

The tallies tell, so that the few that are still queued are found among millions that were sent, without an index that
each mail would be written into, and written out of, on its way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, exists, select, text

from worker.domain.delivery import DeliveryStatus
from worker.storage.models import ASIDE, DeliveryRow, SliceRow, TallyRow

AnyRow = Row[*tuple[Any, ...]]
_D, _S, _T = DeliveryRow, SliceRow, TallyRow

_ON_ITS_WAY = frozenset(
    {DeliveryStatus.QUEUED, DeliveryStatus.SENDING, DeliveryStatus.SENT, DeliveryStatus.DELIVERED}
)
# More than a page of a list needs, most often.
_AT_A_TIME = 50


def walk(
    connection: Connection, statement: Select[*tuple[Any, ...]], campaign_id: int, status: str | None, after: int,
    limit: int,
) -> Iterator[Sequence[AnyRow]]:  # fmt: skip
    """The first `limit` rows of a SELECT from deliveries behind the id `after`, in lots; None: of any status.

    A lot is what one slice has, several thousand rows at most; for statuses with an index, all that there are.
    """
    wanted = statement.order_by(_D.id)
    if status is not None and DeliveryStatus(status) not in _ON_ITS_WAY:
        found = wanted.where(_D.campaign_id == campaign_id, _D.status == status, text(ASIDE), _D.id > after)
        yield connection.execute(found.limit(limit)).all()
        return
    if status is not None:
        # not the bare column, or PostgreSQL looks through the index of all that is queued where it knows no better
        wanted = wanted.where(_D.status.concat("") == status)
    for span in _spans(connection, campaign_id, status, after):
        within = _D.id.between(max(span.first_id, after + 1), span.last_id)
        lot = connection.execute(wanted.where(within, _D.slice_id == span.id).limit(limit)).all()
        limit -= len(lot)
        yield lot
        if limit <= 0:
            return


def _spans(connection: Connection, campaign_id: int, status: str | None, after: int) -> Iterator[AnyRow]:
    """(id, first_id, last_id) of slices that reach behind `after`; in order, since one is planned after the other."""
    statement = select(_S.id, _S.first_id, _S.last_id).where(_S.campaign_id == campaign_id)
    if status is not None:
        statement = statement.where(exists().where(_T.slice_id == _S.id, _T.status == status, _T.n > 0))
    while True:
        some = connection.execute(statement.where(_S.last_id > after).order_by(_S.last_id).limit(_AT_A_TIME)).all()
        yield from some
        if len(some) < _AT_A_TIME:
            return
        after = some[-1].last_id
