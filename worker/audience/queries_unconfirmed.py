"""The SQL of forgetting sign-ups that nobody confirmed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, func, or_, select, update

from worker.audience.queries import AnyRow
from worker.domain.audience import SubscriptionStatus
from worker.domain.delivery import OPEN, Kind
from worker.storage.models import ConsentRow, DeliveryRow, EventRow, LabelRow, SubscriberRow, SubscriptionRow

_C, _D, _S = ConsentRow, DeliveryRow, SubscriptionRow

# Who never confirmed has got no campaign's mail; and it is transactional mail that has an index by subscriber.
_TRANSACTIONAL = _D.campaign_id.is_(None)


def _never_confirmed(before: datetime) -> ColumnElement[bool]:
    # a later generation has been on the list once, or has left it: what testifies to that must stay
    return and_(_S.status == SubscriptionStatus.PENDING, _S.generation == 0, _S.created_at < before)


def never_confirmed(connection: Connection, before: datetime, after: int, limit: int) -> Sequence[AnyRow]:
    """(id, subscriber_id) of subscriptions above `after` that wait since then, by id. Some may have asked again."""
    found = select(_S.id, _S.subscriber_id).where(_S.id > after, _never_confirmed(before))
    return connection.execute(found.order_by(_S.id).limit(limit)).all()


def locked(connection: Connection, subscriber_ids: Sequence[int]) -> list[int]:
    """Those of them that nobody is just signing up again: their rows are ours until the end."""
    found = select(SubscriberRow.id).where(SubscriberRow.id.in_(subscriber_ids)).order_by(SubscriberRow.id)
    return list(connection.execute(found.with_for_update(skip_locked=True)).scalars())


def over(
    connection: Connection, before: datetime, subscription_ids: Sequence[int], subscriber_ids: Sequence[int]
) -> list[int]:
    """Those of these subscriptions of these subscribers that nothing has been asked or sent for since then.

    The newest subscription and that of the newest consent stay until there are newer ones: SQLite gives the highest
    id away again once its row is gone, and both ids are in use where no row is, in links and in dedupe keys.
    """
    asked_again = exists().where(_C.subscription_id == _S.id, _C.at >= before)
    mailed = exists().where(
        _D.subscriber_id == _S.subscriber_id, _TRANSACTIONAL, _D.kind == Kind.CONFIRMATION,
        or_(_D.created_at >= before, _D.status.in_(OPEN)),
    )  # fmt: skip
    newest = exists().where(_C.subscription_id == _S.id, _C.id == select(func.max(_C.id)).scalar_subquery())
    found = select(_S.id).where(
        _S.id.in_(subscription_ids), _S.subscriber_id.in_(subscriber_ids), _never_confirmed(before),
        ~asked_again, ~mailed, ~newest, _S.id < select(func.max(_S.id)).scalar_subquery(),
    )  # fmt: skip
    return list(connection.execute(found.order_by(_S.id)).scalars())


def delete_subscriptions(connection: Connection, ids: Sequence[int], subscriber_ids: Sequence[int]) -> None:
    """With their consents. Mails that were sent for them stay in the counts."""
    connection.execute(
        # by the subscriber: deliveries have an index for that
        update(_D)
        .where(_D.subscriber_id.in_(subscriber_ids), _TRANSACTIONAL, _D.subscription_id.in_(ids))
        .values(subscription_id=None)
    )
    connection.execute(delete(_C).where(_C.subscription_id.in_(ids)))
    connection.execute(delete(_S).where(_S.id.in_(ids)))


def on_no_list(connection: Connection, subscriber_ids: Sequence[int]) -> list[int]:
    """Those of them that have no subscription left, of whatever status."""
    found = select(SubscriberRow.id).where(
        SubscriberRow.id.in_(subscriber_ids), ~exists().where(_S.subscriber_id == SubscriberRow.id)
    )
    return list(connection.execute(found).scalars())


def deliveries_of(connection: Connection, subscriber_ids: Sequence[int]) -> list[int]:
    return list(connection.execute(select(_D.id).where(_D.subscriber_id.in_(subscriber_ids), _TRANSACTIONAL)).scalars())


def delete_subscribers(connection: Connection, ids: Sequence[int]) -> None:
    """With their labels. Their events stay: the same one told again is still a duplicate, and starts nothing."""
    connection.execute(update(_D).where(_D.subscriber_id.in_(ids), _TRANSACTIONAL).values(subscriber_id=None))
    connection.execute(update(EventRow).where(EventRow.subscriber_id.in_(ids)).values(subscriber_id=None))
    connection.execute(delete(LabelRow).where(LabelRow.subscriber_id.in_(ids)))
    connection.execute(delete(SubscriberRow).where(SubscriberRow.id.in_(ids)))
