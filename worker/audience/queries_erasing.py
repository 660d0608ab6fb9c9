"""The SQL of erasure: every table that holds something about a person, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import Connection, String, cast, delete, literal, select, update

from worker.audience.queries import AnyRow
from worker.domain.audience import SubscriptionStatus, SuppressionReason
from worker.domain.delivery import OPEN, DeliveryStatus, Reason
from worker.storage.keys import campaign_key
from worker.storage.models import (
    AttemptRow,
    CampaignRow,
    ConsentRow,
    DeliveryRow,
    EventRow,
    LabelRow,
    SubscriberRow,
    SubscriptionRow,
    SuppressionRow,
)

_D = DeliveryRow
_STREAM = 100


def subscribers_with(connection: Connection, address: str) -> Sequence[AnyRow]:
    """(id, email) at every publication, locked."""
    return connection.execute(
        select(SubscriberRow.id, SubscriberRow.email)
        .where(SubscriberRow.address == address)
        .order_by(SubscriberRow.id)
        .with_for_update()
    ).all()


def deliveries_to(connection: Connection, subscriber_ids: Sequence[int], emails: Sequence[str]) -> Sequence[AnyRow]:
    """(id, slice_id, status, reason) of all mail to these readers, and of test mails to these addresses; locked."""
    # two questions: of one with an "or", SQLite would look through all transactional mail
    theirs = set(_of_campaigns(connection, subscriber_ids))
    for told in (_D.subscriber_id.in_(subscriber_ids), _D.address.in_(emails)):
        theirs.update(connection.execute(select(_D.id).where(_D.campaign_id.is_(None), told)).scalars())
    if not theirs:
        return ()
    chosen = select(_D.id, _D.slice_id, _D.status, _D.reason).where(_D.id.in_(theirs))
    return connection.execute(chosen.order_by(_D.id).with_for_update()).all()


def _of_campaigns(connection: Connection, subscriber_ids: Sequence[int]) -> Iterable[int]:
    """One probe of the dedupe keys for each campaign of their publications: there are thousands of campaigns at most,
    and to keep an index for it would cost every mail."""
    key = campaign_key(CampaignRow.id.expression, SubscriberRow.id.expression)
    return connection.execute(
        select(_D.id)
        .select_from(SubscriberRow)
        .join(CampaignRow, CampaignRow.publication == SubscriberRow.publication)
        .join(_D, _D.dedupe_key == key)
        .where(SubscriberRow.id.in_(subscriber_ids))
    ).scalars()


def cancel(connection: Connection, delivery_ids: Sequence[int]) -> None:
    """A row that is just being sent loses its lease: what becomes of it is not written down any more."""
    connection.execute(
        update(_D)
        .where(_D.id.in_(delivery_ids), _D.status.in_(OPEN))
        .values(status=DeliveryStatus.CANCELLED, reason=Reason.ERASED, lease_id=None, next_attempt_at=None)
    )


def clear_deliveries(connection: Connection, delivery_ids: Sequence[int]) -> int:
    """Address and replies (which quote it) go; the number of attempt rows that were cleared."""
    connection.execute(update(_D).where(_D.id.in_(delivery_ids)).values(address="", reply=""))
    return connection.execute(
        update(AttemptRow).where(AttemptRow.delivery_id.in_(delivery_ids)).values(reply="")
    ).rowcount


def clear_consents(connection: Connection, subscriber_ids: Sequence[int]) -> int:
    """That there was a consent, and when, stays; from where, and what testified to it, goes."""
    theirs = select(SubscriptionRow.id).where(SubscriptionRow.subscriber_id.in_(subscriber_ids))
    return connection.execute(
        update(ConsentRow).where(ConsentRow.subscription_id.in_(theirs)).values(ip="", evidence="")
    ).rowcount


def end_subscriptions(connection: Connection, subscriber_ids: Sequence[int], now: datetime) -> None:
    connection.execute(
        update(SubscriptionRow)
        .where(
            SubscriptionRow.subscriber_id.in_(subscriber_ids),
            SubscriptionRow.status != SubscriptionStatus.UNSUBSCRIBED,
        )
        .values(status=SubscriptionStatus.UNSUBSCRIBED, unsubscribed_at=now)
    )


def delete_labels(connection: Connection, subscriber_ids: Sequence[int]) -> int:
    return connection.execute(delete(LabelRow).where(LabelRow.subscriber_id.in_(subscriber_ids))).rowcount


def clear_subscribers(connection: Connection, subscriber_ids: Sequence[int], now: datetime) -> None:
    """The row stays, since counts hang on it; its key becomes one that no address can have."""
    connection.execute(
        update(SubscriberRow)
        .where(SubscriberRow.id.in_(subscriber_ids))
        .values(
            address=literal("erased:") + cast(SubscriberRow.id, String), email="", domain="", name="", locale="",
            erased_at=now,
        )
    )  # fmt: skip


def events_of(connection: Connection, subscriber_ids: Sequence[int]) -> list[int]:
    return list(connection.execute(select(EventRow.id).where(EventRow.subscriber_id.in_(subscriber_ids))).scalars())


def events_of_nobody(connection: Connection) -> Iterable[AnyRow]:
    """(id, data) of events that led to no subscriber and to no campaign, and may name somebody nevertheless."""
    return connection.execute(
        select(EventRow.id, EventRow.data)
        .where(EventRow.subscriber_id.is_(None), EventRow.campaign_id.is_(None), EventRow.type.not_like("post.%"))
        .order_by(EventRow.id)
        .execution_options(yield_per=_STREAM)
    )


def clear_events(connection: Connection, event_ids: Sequence[int]) -> None:
    """Their hash stays: the same event told again is still a duplicate, and does not bring the reader back."""
    connection.execute(update(EventRow).where(EventRow.id.in_(event_ids)).values(data={"erased": True}, note=""))


def blur_suppressions(connection: Connection, address: str) -> int:
    """Whoever must not be written to stays so, but not why: the number of such entries."""
    return connection.execute(
        update(SuppressionRow)
        .where(SuppressionRow.address == address)
        .values(reason=SuppressionReason.ERASED, evidence="")
    ).rowcount
