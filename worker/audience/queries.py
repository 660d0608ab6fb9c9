"""The SQL of the audience: subscribers, their subscriptions, consents and suppressions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, CursorResult, Row, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from worker.domain.audience import ConsentAction, SubscriptionStatus, SuppressionReason
from worker.domain.delivery import Kind
from worker.storage.models import (
    ConsentRow,
    DeliveryRow,
    LabelRow,
    SubscriberRow,
    SubscriptionRow,
    SuppressionRow,
)

AnyRow = Row[*tuple[Any, ...]]
_S = SubscriptionRow

# The first of the two numbers of an advisory lock: what the second one is about.
_ADDRESS_LOCK = 1_001
_IP_LOCK = 1_002


def lock_sign_up(connection: Connection, address: str, ip: str) -> None:
    """One sign-up at a time for an IP and for an address, over all publications, so that limits can be counted.

    SQLite has one writer anyway. Everybody takes the IP's lock first, so nobody waits crosswise.
    """
    if connection.dialect.name != "postgresql":
        return
    for number, key in ((_IP_LOCK, ip), (_ADDRESS_LOCK, address)):
        if key:
            connection.execute(select(func.pg_advisory_xact_lock(number, func.hashtext(key))))


# -- subscribers


def upsert_subscriber(
    connection: Connection, publication: str, address: str, email: str, domain: str, now: datetime
) -> AnyRow:
    """(id, email, name, locale) of the subscriber, made where there is none; the row is locked until the end."""
    statement = (
        _insert(connection, SubscriberRow)
        .values(publication=publication, address=address, email=email, domain=domain, name="", locale="",
                created_at=now)
    )  # fmt: skip
    return connection.execute(
        # an update that changes nothing: it locks and returns the row that was there
        statement.on_conflict_do_update(
            index_elements=["publication", "address"], set_={"publication": statement.excluded.publication}
        ).returning(SubscriberRow.id, SubscriberRow.email, SubscriberRow.name, SubscriberRow.locale)
    ).one()


def change_subscriber(connection: Connection, subscriber_id: int, values: dict[str, str]) -> None:
    if values:
        connection.execute(update(SubscriberRow).where(SubscriberRow.id == subscriber_id).values(values))


def subscriber(connection: Connection, publication: str, address: str) -> AnyRow | None:
    """The row, locked, or None."""
    return connection.execute(
        select(SubscriberRow.__table__)
        .where(SubscriberRow.publication == publication, SubscriberRow.address == address)
        .with_for_update()
    ).first()


def add_labels(connection: Connection, subscriber_id: int, labels: Iterable[str]) -> None:
    rows = [{"subscriber_id": subscriber_id, "label": label} for label in sorted(set(labels))]
    if rows:
        connection.execute(_insert(connection, LabelRow).on_conflict_do_nothing(), rows)


def replace_labels(connection: Connection, subscriber_id: int, labels: Iterable[str]) -> None:
    connection.execute(delete(LabelRow).where(LabelRow.subscriber_id == subscriber_id))
    add_labels(connection, subscriber_id, labels)


# -- subscriptions


def subscriptions(connection: Connection, subscriber_id: int) -> Sequence[AnyRow]:
    """All of one subscriber, oldest first."""
    return connection.execute(select(_S.__table__).where(_S.subscriber_id == subscriber_id).order_by(_S.id)).all()


def add_subscription(
    connection: Connection, publication: str, subscriber_id: int, list_slug: str, status: SubscriptionStatus,
    now: datetime,
) -> int:  # fmt: skip
    active = status == SubscriptionStatus.ACTIVE
    added: int = connection.execute(
        insert(_S)
        .values(publication=publication, subscriber_id=subscriber_id, list_slug=list_slug, status=status,
                generation=0, created_at=now, confirmed_at=now if active else None)
        .returning(_S.id)
    ).scalar_one()  # fmt: skip
    return added


def activate(connection: Connection, subscription_ids: Sequence[int], now: datetime) -> None:
    """Pending ones become active."""
    values = {"status": SubscriptionStatus.ACTIVE, "confirmed_at": now, "unsubscribed_at": None}
    connection.execute(update(_S).where(_S.id.in_(subscription_ids)).values(values))


def come_back(
    connection: Connection, subscription_id: int, status: SubscriptionStatus, now: datetime
) -> None:
    """An unsubscribed one begins anew: confirmation links of its earlier life are dead.

    Only a confirmation makes forget that the reader had left: anybody can type an address into a form.
    """
    values: dict[str, Any] = {"status": status, "generation": _S.generation + 1, "created_at": now}
    if status == SubscriptionStatus.ACTIVE:
        values |= {"confirmed_at": now, "unsubscribed_at": None}
    connection.execute(update(_S).where(_S.id == subscription_id).values(values))


def unsubscribe(connection: Connection, subscription_ids: Sequence[int], now: datetime) -> None:
    connection.execute(
        update(_S)
        .where(_S.id.in_(subscription_ids))
        .values(status=SubscriptionStatus.UNSUBSCRIBED, unsubscribed_at=now)
    )


def holder(connection: Connection, subscription_id: int, *, lock: bool) -> AnyRow | None:
    """The subscriber behind a subscription, unless erased. `lock`: nobody else changes them until the end."""
    statement = (
        select(SubscriberRow.__table__)
        .join(_S, _S.subscriber_id == SubscriberRow.id)
        .where(_S.id == subscription_id, SubscriberRow.erased_at.is_(None))
    )
    return connection.execute(statement.with_for_update(of=SubscriberRow) if lock else statement).first()


# -- consents


def add_consents(
    connection: Connection, subscription_ids: Sequence[int], action: ConsentAction, at: datetime, *, ip: str = "",
    form: str = "", wording: str = "", evidence: str = "",
) -> list[int]:  # fmt: skip
    """One row for each subscription; their ids."""
    rows = [
        {"subscription_id": one, "action": action, "at": at, "ip": ip, "form": form, "wording": wording,
         "evidence": evidence}
        for one in subscription_ids
    ]  # fmt: skip
    if not rows:
        return []
    return list(connection.execute(insert(ConsentRow).returning(ConsentRow.id), rows).scalars())


def others_from_ip(connection: Connection, ip: str, since: datetime, subscriber_id: int, limit: int) -> int:
    """How many other subscribers were asked for from this IP since then; counting stops at `limit`."""
    found = (
        select(_S.subscriber_id)
        .join(ConsentRow, ConsentRow.subscription_id == _S.id)
        .where(
            ConsentRow.ip == ip, ConsentRow.at > since, ConsentRow.action == ConsentAction.REQUESTED,
            _S.subscriber_id != subscriber_id,
        )
        .distinct()
        .limit(limit)
    )  # fmt: skip
    return connection.execute(select(func.count()).select_from(found.subquery())).scalar_one()


def requests_from(connection: Connection, prefix: str, since: datetime, subscriber_id: int) -> CursorResult[Any]:
    """(ip, subscriber_id) of other subscribers asked for since then from addresses that begin so, as a stream.

    May hold a few that begin otherwise: a range, since LIKE has no index where text is not sorted by its bytes, and
    one that holds in every order of sorting, as no hexadecimal digit comes behind a `g`.
    """
    return connection.execute(
        select(ConsentRow.ip, _S.subscriber_id)
        .join(_S, ConsentRow.subscription_id == _S.id)
        .where(
            ConsentRow.ip >= prefix, ConsentRow.ip < f"{prefix}g", ConsentRow.at > since,
            ConsentRow.action == ConsentAction.REQUESTED, _S.subscriber_id != subscriber_id,
        )
        .distinct(),
        execution_options={"yield_per": 100},
    )  # fmt: skip


def sign_up_mails(connection: Connection, address: str, email: str, since: datetime) -> tuple[int, datetime | None]:
    """How many sign-up mails were put out to this address since then, and when the last one was.

    Over all publications, and in whatever case the address was written each time.
    """
    # two questions: joined into one, SQLite would walk through all transactional mail there is
    written = connection.execute(select(SubscriberRow.email).where(SubscriberRow.address == address)).scalars()
    row = connection.execute(
        select(func.count(), func.max(DeliveryRow.created_at)).where(
            DeliveryRow.address.in_({email, *written}),
            DeliveryRow.campaign_id.is_(None),
            DeliveryRow.created_at > since,
            DeliveryRow.kind.in_((Kind.CONFIRMATION, Kind.ALREADY_SUBSCRIBED)),
        )
    ).one()
    return row[0], row[1]


# -- suppressions


def add_suppression(
    connection: Connection, address: str, publication: str, reason: SuppressionReason, evidence: str, now: datetime
) -> bool:
    """False where there was one already: its reason and evidence stay."""
    statement = _insert(connection, SuppressionRow).values(
        address=address, publication=publication, reason=reason, evidence=evidence, created_at=now
    )
    added = statement.on_conflict_do_nothing().returning(SuppressionRow.address)
    return connection.execute(added).first() is not None


def delete_suppression(connection: Connection, address: str, publication: str) -> bool:
    statement = delete(SuppressionRow).where(
        SuppressionRow.address == address, SuppressionRow.publication == publication
    )
    return connection.execute(statement).rowcount == 1


def suppressions(connection: Connection, address: str) -> Sequence[AnyRow]:
    """(publication, reason, evidence, created_at)"""
    return connection.execute(
        select(
            SuppressionRow.publication, SuppressionRow.reason, SuppressionRow.evidence, SuppressionRow.created_at
        )
        .where(SuppressionRow.address == address)
    ).all()


def _insert(connection: Connection, table: Any) -> Any:
    return sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)


