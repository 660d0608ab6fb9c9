"""The SQL of planning: one audience, walked in slices by the key of its subscriptions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Executable,
    Insert,
    Select,
    String,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from worker.campaigns.queries import AnyRow
from worker.domain.audience import SubscriptionStatus
from worker.domain.delivery import DeliveryStatus, Kind
from worker.storage.keys import campaign_key
from worker.storage.models import DeliveryRow, LabelRow, SliceRow, SubscriberRow, SubscriptionRow
from worker.storage.types import BigKey, UtcDateTime

_S, _P = SubscriptionRow, SubscriberRow

Groups = Sequence[tuple[str, Sequence[str]]]
"""(destination, its domains) in the order in which they are tried."""


class Span(NamedTuple):
    """`n` new deliveries, between these ids."""

    n: int
    first_id: int | None
    last_id: int | None


def last_subscription(connection: Connection) -> int:
    return int(connection.execute(select(func.coalesce(func.max(_S.id), 0))).scalar_one())


def add_slice(connection: Connection, campaign: AnyRow, now: datetime) -> int:
    values = {"publication": campaign.publication, "kind": Kind.NEW_POST, "campaign_id": campaign.id}
    return int(connection.execute(_ADD_SLICE, values | {"planned_at": now}).scalar_one())


def close_slice(connection: Connection, slice_id: int, span: Span) -> None:
    """Between which ids its deliveries are."""
    connection.execute(_CLOSE_SLICE, {"slice": slice_id, "first": span.first_id, "last": span.last_id})


def drop_slice(connection: Connection, slice_id: int) -> None:
    connection.execute(delete(SliceRow).where(SliceRow.id == slice_id))


_ADD_SLICE = insert(SliceRow).returning(SliceRow.id)
_CLOSE_SLICE = (
    update(SliceRow)
    .where(SliceRow.id == bindparam("slice"))
    .values(first_id=bindparam("first"), last_id=bindparam("last"))
)
# one writer at a time: what is behind the last of before is all ours
_LAST = select(func.coalesce(func.max(DeliveryRow.id), 0))
_FIRST = select(func.min(DeliveryRow.id)).where(DeliveryRow.id > bindparam("before"))


class Audience:
    """The statements of one campaign's planning.

    Made once for many slices: making them takes longer than running a small one, with the lock held.
    """

    def __init__(self, campaign: AnyRow, groups: Groups, *, sqlite_database: bool) -> None:
        self.until = int(campaign.plan_until)
        """The last subscription of the campaign."""
        self._whom = _whom(campaign)
        listed = (
            _S.publication == campaign.publication,
            _S.list_slug == campaign.list_slug,
            _S.status == SubscriptionStatus.ACTIVE,
            _S.id > bindparam("cursor", type_=BigKey),
            _S.id <= bindparam("until", type_=BigKey),
        )
        self._walk = select(_S.id).where(*listed).order_by(_S.id).limit(1).offset(bindparam("skip", type_=BigKey))
        values = _delivery(campaign, groups)
        readers = _readers(select(*values.values()).where(*listed), campaign.labels)
        flavour = sqlite.insert if sqlite_database else postgresql.insert
        adding = flavour(DeliveryRow).from_select(list(values), readers)
        adding = adding.on_conflict_do_nothing(index_elements=["dedupe_key"])
        # SQLAlchemy only keeps the row count of an INSERT where it is asked to
        self._insert = adding.execution_options(preserve_rowcount=True) if sqlite_database else _telling(adding)

    def is_of(self, campaign: AnyRow) -> bool:
        """Whether the campaign still goes to these: a post published again may go to others."""
        return self._whom == _whom(campaign)

    def end(self, connection: Connection, cursor: int, size: int) -> int:
        """The subscription up to which the next `size` readers go; the campaign's last where there are no more."""
        at = {"cursor": cursor, "until": self.until, "skip": size - 1}
        end: int | None = connection.execute(self._walk, at).scalar_one_or_none()
        return self.until if end is None else end

    def add_deliveries(self, connection: Connection, slice_id: int, cursor: int, until: int, now: datetime) -> Span:
        """One delivery for each reader after the cursor; which are new. Who was planned before is passed over."""
        at = {"cursor": cursor, "until": until, "slice": slice_id, "now": now}
        if connection.dialect.name != "sqlite":
            return Span._make(connection.execute(self._insert, at).one())
        before = connection.execute(_LAST).scalar_one()
        n = connection.execute(self._insert, at).rowcount
        first = connection.execute(_FIRST, {"before": before}).scalar_one()
        return Span(n, first, connection.execute(_LAST).scalar_one())


def _whom(campaign: AnyRow) -> tuple[object, ...]:
    return campaign.list_slug, list(campaign.labels), campaign.plan_until


def _telling(adding: Insert) -> Executable:
    """An insert that answers as a `Span`."""
    new = adding.returning(DeliveryRow.id).cte("new")
    return select(func.count(), func.min(new.c.id), func.max(new.c.id))


def _delivery(campaign: AnyRow, groups: Groups) -> dict[str, ColumnElement[Any]]:
    return {
        "publication": literal(campaign.publication, String), "kind": literal(str(Kind.NEW_POST), String),
        "campaign_id": literal(campaign.id, BigKey), "slice_id": bindparam("slice", type_=BigKey),
        "subscriber_id": _S.subscriber_id.expression, "subscription_id": _S.id.expression,
        "address": _P.email.expression, "destination": _destination(groups),
        "dedupe_key": campaign_key(literal(campaign.id, BigKey), _S.subscriber_id.expression),
        "status": literal(str(DeliveryStatus.QUEUED), String), "created_at": bindparam("now", type_=UtcDateTime),
    }  # fmt: skip


def _readers(chosen: Select[Any], labels: Sequence[str]) -> Select[Any]:
    readers = chosen.select_from(_S).join(_P, _P.id == _S.subscriber_id).where(_P.erased_at.is_(None)).order_by(_S.id)
    if not labels:
        return readers
    return readers.where(exists().where(LabelRow.subscriber_id == _S.subscriber_id, LabelRow.label.in_(list(labels))))


def _destination(groups: Groups) -> ColumnElement[str]:
    whens = [(_P.domain.in_(list(domains)), literal(name, String)) for name, domains in groups if domains]
    return case(*whens, else_="") if whens else literal("", String)
