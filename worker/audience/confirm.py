"""Confirming: the link from the mail proves the mailbox."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from sqlalchemy import Connection

from worker.audience import queries
from worker.audience.addresses import Address
from worker.audience.links import Holder, holder_of
from worker.audience.queries import AnyRow
from worker.audience.signup import Consent, SignUp, SignUpResult, SignUpRules, sign_up
from worker.domain.audience import ConsentAction, SubscriptionStatus
from worker.domain.delivery import Kind
from worker.domain.publication import Publication
from worker.domain.tokens import KeyRing, Purpose
from worker.storage.outbox import Outgoing, put

_FORM = "confirmation link"
_Status = SubscriptionStatus


class ConfirmState(StrEnum):
    READY = "ready"
    """The link is good; nothing has been done yet."""
    CONFIRMED = "confirmed"
    ALREADY = "already"
    EXPIRED = "expired"
    """Genuine, but too old or made for an earlier life of the subscription: `resend` gives a new one."""
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Confirmation:
    """Where a confirmation link stands. `publication`, `lists` and `email` are empty where it is invalid."""

    state: ConfirmState
    publication: str = ""
    lists: tuple[str, ...] = ()
    email: str = ""
    deliveries: tuple[int, ...] = ()
    """To be rung for after the commit."""


def look(connection: Connection, keys: KeyRing, rules: SignUpRules, token: str, now: datetime) -> Confirmation:
    """What the link would do. Changes nothing."""
    holder = holder_of(connection, keys, token, Purpose.CONFIRM)
    return Confirmation(ConfirmState.INVALID) if holder is None else _standing(holder, rules, now)


def confirm(
    connection: Connection, keys: KeyRing, rules: SignUpRules, publications: Mapping[str, Publication], token: str,
    ip: str, now: datetime,
) -> Confirmation:  # fmt: skip
    """Activate what was asked for when the link was made, or before. A second time: `ALREADY`, and no change."""
    holder = holder_of(connection, keys, token, Purpose.CONFIRM, lock=True)
    if holder is None:
        return Confirmation(ConfirmState.INVALID)
    standing = _standing(holder, rules, now)
    if standing.state != ConfirmState.READY:
        return standing
    pending = _covered(holder)
    ids = [one.id for one in pending]
    queries.activate(connection, ids, now)
    queries.add_consents(connection, ids, ConsentAction.CONFIRMED, now, ip=ip, form=_FORM)
    publication = publications.get(holder.publication)
    welcome = _welcome(connection, rules, holder, now) if publication is not None and publication.welcome else None
    return Confirmation(
        ConfirmState.CONFIRMED, standing.publication, tuple(one.list_slug for one in pending), standing.email,
        () if welcome is None else (welcome,),
    )  # fmt: skip


def resend(
    connection: Connection, keys: KeyRing, rules: SignUpRules, publications: Mapping[str, Publication], token: str,
    consent: Consent, now: datetime,
) -> SignUpResult | None:  # fmt: skip
    """A new link for an expired one: a sign-up like any other, under the same limits. None for an invalid token."""
    # not locked: a sign-up locks the address first, then the reader
    holder = holder_of(connection, keys, token, Purpose.CONFIRM)
    publication = None if holder is None else publications.get(holder.publication)
    if holder is None or publication is None:
        return None
    reader = holder.subscriber
    pending = [one.list_slug for one in holder.with_status(_Status.PENDING)]
    return sign_up(
        connection, rules, publication,
        SignUp(
            address=Address(reader.email, reader.address, reader.domain), name="", locale="",
            lists=tuple(dict.fromkeys([holder.named.list_slug, *pending])), labels=(), confirmed=False,
            consent=consent, seen_ip=consent.ip,
        ),
        now,
    )  # fmt: skip


def _standing(holder: Holder, rules: SignUpRules, now: datetime) -> Confirmation:
    issued = datetime.fromtimestamp(holder.claim.issued, UTC)
    if holder.named.status == _Status.ACTIVE:
        state = ConfirmState.ALREADY
    elif holder.named.status != _Status.PENDING or holder.named.generation != holder.claim.generation:
        state = ConfirmState.EXPIRED
    else:
        state = ConfirmState.READY if now < issued + rules.confirm_lifetime else ConfirmState.EXPIRED
    lists = _covered(holder) if state == ConfirmState.READY else [holder.named]
    return Confirmation(state, holder.publication, tuple(one.list_slug for one in lists), holder.subscriber.email)


def _covered(holder: Holder) -> list[AnyRow]:
    """What the link confirms: a list that a stranger asked for after it was made is not among it."""
    pending = holder.with_status(_Status.PENDING)
    issued, named = holder.claim.issued, holder.named.id
    # the named one always: a mail that waited in the queue carries the generation of the day it went out
    return [one for one in pending if one.id == named or int(one.created_at.timestamp()) <= issued]


def _welcome(connection: Connection, rules: SignUpRules, holder: Holder, now: datetime) -> int | None:
    outgoing = Outgoing(
        publication=holder.publication, kind=Kind.WELCOME, address=holder.subscriber.email,
        destination=rules.group_of(holder.subscriber.domain),
        # one for each life of the subscription
        dedupe_key=f"welcome:{holder.named.id}:{holder.named.generation}",
        expires_at=None, subscriber_id=holder.subscriber.id, subscription_id=holder.named.id,
    )  # fmt: skip
    return put(connection, outgoing, now)
