"""The SQL of the delivery room."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, exists, func, insert, or_, select, text, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from worker.domain.audience import SubscriptionStatus, SuppressionReason
from worker.domain.campaign import GOING, CampaignStatus
from worker.domain.delivery import DeliveryStatus, Reason
from worker.storage.models import (
    HELD,
    HELD_TRANSACTIONAL,
    AttemptRow,
    CampaignRow,
    DeliveryRow,
    LeaseRow,
    SubscriberRow,
    SubscriptionRow,
    SuppressionRow,
)

AnyRow = Row[*tuple[Any, ...]]
_D = DeliveryRow

_SUPPRESSED = exists().where(
    SuppressionRow.address == SubscriberRow.address,
    or_(SuppressionRow.publication == _D.publication, SuppressionRow.publication == "*"),
)
# A test mail goes to whoever the operator names, and a reader may have another address by now.
_ELSEWHERE = func.coalesce(SubscriberRow.email, "") != _D.address

_PARCEL = (
    select(
        _D.id, _D.publication, _D.kind, _D.campaign_id, _D.slice_id, _D.subscription_id, _D.subscriber_id, _D.address,
        _D.shows_campaign_id, _D.destination, _D.created_at, _D.attempts, _D.first_attempt_at, _D.expires_at,
        _D.claims, _D.lease_id,
        SubscriberRow.name, SubscriberRow.locale, SubscriberRow.erased_at,
        SubscriptionRow.status.label("subscription_status"), SubscriptionRow.generation, SubscriptionRow.list_slug,
        _SUPPRESSED.label("suppressed"), _ELSEWHERE.label("elsewhere"),
    )
    .outerjoin(SubscriberRow, SubscriberRow.id == _D.subscriber_id)
    .outerjoin(SubscriptionRow, SubscriptionRow.id == _D.subscription_id)
)  # fmt: skip


_NOT_HELD_BACK = text(f"NOT {HELD_TRANSACTIONAL}")
_TRANSACTIONAL = (
    _PARCEL.where(
        _D.id.in_(bindparam("ids", expanding=True)), _D.status == DeliveryStatus.QUEUED, _D.campaign_id.is_(None),
        _NOT_HELD_BACK,
    )
    .order_by(_D.id)
    .with_for_update(of=_D, skip_locked=True)
)
_HEAD = select(CampaignRow.publication, CampaignRow.status).where(
    CampaignRow.id == bindparam("campaign"), text(f"NOT {HELD}")
)
_PROBE = (
    select(_D.id)
    .where(
        _D.campaign_id == bindparam("campaign"), _D.destination == bindparam("destination"),
        _D.status == DeliveryStatus.QUEUED,
    )
    .limit(1)
)  # fmt: skip
# The statements of the hot path are made once: making one takes longer than running it.
_LEASE = insert(LeaseRow).returning(LeaseRow.id)
_HELD = (
    select(_D.id, _D.lease_id)
    # not the bare column, or PostgreSQL looks through the index of all that is being sent
    .where(_D.id.in_(bindparam("ids", expanding=True)), (_D.lease_id + 0).is_not(None))
    .order_by(_D.id)
    .with_for_update(of=_D)
)
_CLOSE = delete(LeaseRow).where(LeaseRow.id.in_(bindparam("ids", expanding=True)))


def campaign_head(connection: Connection, campaign_id: int) -> AnyRow | None:
    """(publication, status); None while sending is held, too."""
    return connection.execute(_HEAD, {"campaign": campaign_id}).first()


def campaign_post(connection: Connection, campaign_id: int) -> AnyRow:
    """(publication, post, list_slug)"""
    return connection.execute(
        select(CampaignRow.publication, CampaignRow.post, CampaignRow.list_slug).where(CampaignRow.id == campaign_id)
    ).one()


def queued_transactional(connection: Connection, ids: Sequence[int]) -> Sequence[AnyRow]:
    return connection.execute(_TRANSACTIONAL, {"ids": ids}).all()


def pending_lists(connection: Connection, subscriber_ids: Sequence[int]) -> dict[int, tuple[str, ...]]:
    """What each of these has asked for and not confirmed yet: one click confirms all of it."""
    statement = select(SubscriptionRow.subscriber_id, SubscriptionRow.list_slug).where(
        SubscriptionRow.subscriber_id.in_(subscriber_ids), SubscriptionRow.status == SubscriptionStatus.PENDING
    )
    found: dict[int, tuple[str, ...]] = {}
    for row in connection.execute(statement.order_by(SubscriptionRow.id)):
        found[row.subscriber_id] = (*found.get(row.subscriber_id, ()), row.list_slug)
    return found


def peek_transactional(connection: Connection, after: int, limit: int) -> Sequence[AnyRow]:
    """(id, publication, destination) of the oldest queued transactional rows behind `after`; nothing is locked."""
    return connection.execute(
        select(_D.id, _D.publication, _D.destination)
        .where(_D.status == DeliveryStatus.QUEUED, _D.campaign_id.is_(None), _D.id > after, _NOT_HELD_BACK)
        .order_by(_D.id)
        .limit(limit)
    ).all()


def queued_destinations(connection: Connection, campaign_id: int, known: Sequence[str]) -> list[str]:
    """Which of the known destinations have queued rows: one probe of the claim's index for each."""
    return [
        name
        for name in known
        if connection.execute(_PROBE, {"campaign": campaign_id, "destination": name}).first() is not None
    ]


def open_lease(
    connection: Connection, owner: str, now: datetime, expires_at: datetime, warmup_day_id: int | None = None
) -> int:
    """A new lease; its id is the fencing token."""
    values = {"owner": owner, "claimed_at": now, "expires_at": expires_at, "warmup_day_id": warmup_day_id}
    return int(connection.execute(_LEASE, values).scalar_one())


def end(connection: Connection, ids: Sequence[int], status: DeliveryStatus, reason: Reason) -> None:
    values: dict[str, Any] = {"status": status, "reason": reason, "lease_id": None, "next_attempt_at": None}
    if reason is Reason.ERASED:
        # made beside the erasure, which did not see it: nobody would look for the address again
        values |= {"address": "", "reply": ""}
    connection.execute(update(_D).where(_D.id.in_(ids)).values(values))


def held(connection: Connection, pairs: Sequence[tuple[int, int]]) -> set[tuple[int, int]]:
    """Those (delivery, lease) pairs that still hold: whose fencing token is still on the row."""
    rows = connection.execute(_HELD, {"ids": [one for one, _ in pairs]})
    return {(row.id, row.lease_id) for row in rows} & set(pairs)


def give_back(connection: Connection, ids: Sequence[int], *, clean: bool) -> None:
    """To the queue, no attempt counted. `clean`: given back on purpose, so the claim counts against nobody."""
    values: dict[str, Any] = {"status": DeliveryStatus.QUEUED, "reason": Reason.NONE, "lease_id": None}
    if clean:
        values["claims"] = 0
    connection.execute(update(_D).where(_D.id.in_(ids)).values(values))


def add_attempts(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    connection.execute(insert(AttemptRow), rows)


def suppressed_keys(connection: Connection, publication: str, keys: Iterable[str]) -> set[str]:
    """Which of them this publication must not write to."""
    theirs = SuppressionRow.publication.in_((publication, "*"))
    chosen = select(SuppressionRow.address).where(SuppressionRow.address.in_(list(keys)), theirs)
    return set(connection.execute(chosen).scalars())


def suppress_bounced(connection: Connection, publication: str, key: str, evidence: str, now: datetime) -> None:
    """Suppress an address whose mailbox is gone; an older reason stays."""
    row = {
        "address": key, "publication": publication, "reason": SuppressionReason.HARD_BOUNCE,
        "evidence": evidence, "created_at": now,
    }  # fmt: skip
    flavour = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    connection.execute(flavour(SuppressionRow).values(row).on_conflict_do_nothing())


def close_leases(connection: Connection, ids: Sequence[int]) -> None:
    connection.execute(_CLOSE, {"ids": ids})


def renew_leases(
    connection: Connection, ends: Mapping[int, datetime], now: datetime, expires_at: datetime
) -> set[int]:
    """Move the end of leases that still stand, and where it is what their owner knows; the ids that were renewed."""
    known = tuple_(LeaseRow.id, LeaseRow.expires_at).in_(list(ends.items()))
    statement = update(LeaseRow).where(known, LeaseRow.expires_at > now).values(expires_at=expires_at)
    return set(connection.execute(statement.returning(LeaseRow.id)).scalars())


def end_lease(connection: Connection, lease_id: int, now: datetime) -> bool:
    """Whether it is over; then for good: its end is moved, and its owner, who does not know it, cannot renew it."""
    statement = update(LeaseRow).where(LeaseRow.id == lease_id, LeaseRow.expires_at < now).values(expires_at=now)
    return connection.execute(statement).rowcount == 1


def leases(connection: Connection) -> Sequence[AnyRow]:
    """(id, owner, expires_at, warmup_day_id) of all; there is one for each claim in flight, so they are few."""
    columns = (LeaseRow.id, LeaseRow.owner, LeaseRow.expires_at, LeaseRow.warmup_day_id)
    return connection.execute(select(*columns)).all()


def under_lease(connection: Connection, lease_id: int, limit: int) -> Sequence[AnyRow]:
    statement = _PARCEL.where(_D.lease_id == lease_id).order_by(_D.id).limit(limit)
    if connection.dialect.name == "postgresql":
        statement = statement.with_for_update(of=_D)
    return connection.execute(statement).all()


def orphans(connection: Connection, limit: int) -> Sequence[AnyRow]:
    """Rows that are being sent under a lease that is not there, which no taking over of leases would find."""
    gone = ~exists().where(LeaseRow.id == _D.lease_id)
    statement = _PARCEL.where(_D.lease_id.is_not(None), gone).order_by(_D.id).limit(limit)
    if connection.dialect.name == "postgresql":
        statement = statement.with_for_update(of=_D, skip_locked=True)
    return connection.execute(statement).all()


def fail_campaign(connection: Connection, campaign_id: int, why: str) -> None:
    """A campaign whose mail cannot be made stops before its next mail."""
    going = [str(one) for one in GOING]
    connection.execute(
        update(CampaignRow)
        .where(CampaignRow.id == campaign_id, CampaignRow.status.in_(going))
        .values(status=CampaignStatus.FAILED, reason=why)
    )
