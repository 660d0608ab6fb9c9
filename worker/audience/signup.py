"""Signing up: pending until confirmed from the mailbox itself, with the evidence of who asked for it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from worker.audience import queries
from worker.audience.addresses import Address
from worker.audience.limits import SignUpRules, whose, why_no_mail
from worker.audience.queries import AnyRow
from worker.domain.audience import ConsentAction, SubscriptionStatus
from worker.domain.delivery import Kind
from worker.domain.publication import Publication
from worker.storage.outbox import Outgoing, put

__all__ = ["Consent", "SignUp", "SignUpResult", "SignUpRules", "sign_up"]

_Status = SubscriptionStatus


@dataclass(frozen=True, slots=True)
class Consent:
    """The evidence: when, from which IP, by which form and wording, and whatever else testifies to it."""

    at: datetime
    ip: str = ""
    form: str = ""
    wording: str = ""
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class SignUp:
    """One reader asking for some lists of a publication. `confirmed`: the publisher vouches for the mailbox."""

    address: Address
    name: str
    locale: str
    lists: tuple[str, ...]
    labels: tuple[str, ...]
    confirmed: bool
    consent: Consent
    seen_ip: str = ""
    """The IP where we saw it ourselves, for the cap per IP. A publisher's word for an IP is evidence, no more: its
    server may well give its own for everybody, and then nobody would get a confirmation."""


@dataclass(frozen=True, slots=True)
class SignUpResult:
    """`deliveries` are to be rung for after the commit. `note` names no address."""

    subscriber_id: int
    deliveries: tuple[int, ...]
    note: str


def sign_up(
    connection: Connection, rules: SignUpRules, publication: Publication, signup: SignUp, now: datetime
) -> SignUpResult:
    """Record it, and queue the one mail it leads to, within the caller's transaction.

    Whoever is active on every list asked for gets a mail that says so; everybody else a confirmation, unless
    `confirmed`. Both under the limits against list-bombing: what is over them is recorded and gets no mail.
    """
    queries.lock_sign_up(connection, signup.address.address, whose(signup.seen_ip))
    row = queries.upsert_subscriber(
        connection, publication.slug, signup.address.address, signup.address.email, signup.address.domain, now
    )
    known = {one.list_slug: one for one in queries.subscriptions(connection, row.id)}
    email = _describe(connection, row, known, signup)
    ties = {slug: _tie(connection, publication.slug, row.id, known.get(slug), slug, signup, now)
            for slug in dict.fromkeys(signup.lists)}  # fmt: skip
    consents = _testify(connection, [tie for tie, _ in ties.values()], signup)
    if signup.confirmed:
        left = [slug for slug, (_, status) in ties.items() if status != _Status.ACTIVE]
        note = f"; left since that consent: {', '.join(left)}" if left else ""
        return SignUpResult(row.id, (), f"confirmed by the publisher, no mail{note}")
    pending = [tie for tie, status in ties.values() if status == _Status.PENDING]
    why_not = why_no_mail(connection, rules, signup.address, signup.seen_ip, row.id, now)
    if why_not:
        return SignUpResult(row.id, (), why_not)
    kind = Kind.CONFIRMATION if pending else Kind.ALREADY_SUBSCRIBED
    delivery_id = put(
        connection,
        Outgoing(
            publication=publication.slug, kind=kind, address=email,
            destination=rules.group_of(signup.address.domain),
            # one for each request: its first consent row is nobody else's
            dedupe_key=f"signup:{consents[0]}",
            expires_at=now + rules.confirm_lifetime, subscriber_id=row.id,
            subscription_id=pending[0] if pending else next(iter(ties.values()))[0],
        ),
        now,
    )  # fmt: skip
    note = "confirmation queued" if pending else "already subscribed: a mail that says so is queued"
    return SignUpResult(row.id, () if delivery_id is None else (delivery_id,), note)


def _describe(connection: Connection, row: AnyRow, known: dict[str, AnyRow], signup: SignUp) -> str:
    """Write down who it is; the address to write to.

    Anybody can type anybody's address: where a reader is active, only the publisher's word changes the name.
    """
    queries.add_labels(connection, row.id, signup.labels)
    if not signup.confirmed and any(one.status == _Status.ACTIVE for one in known.values()):
        return str(row.email)
    # a mailbox keeps the case it was first written in: the limits find its mails by it
    same = not signup.confirmed and signup.address.email.lower() == row.email.lower()
    email = str(row.email) if same else signup.address.email
    given = {"email": email, "name": signup.name, "locale": signup.locale}
    queries.change_subscriber(
        connection, row.id, {key: value for key, value in given.items() if value and value != getattr(row, key)}
    )
    return email


def _tie(
    connection: Connection, publication: str, subscriber_id: int, found: AnyRow | None, list_slug: str,
    signup: SignUp, now: datetime,
) -> tuple[int, SubscriptionStatus]:  # fmt: skip
    """The subscription to one list as it is to be: its id and status."""
    wanted = _Status.ACTIVE if signup.confirmed else _Status.PENDING
    if found is None:
        return queries.add_subscription(connection, publication, subscriber_id, list_slug, wanted, now), wanted
    status = _Status(found.status)
    left_at = found.unsubscribed_at if status != _Status.ACTIVE else None
    # an old consent, told again (a synchronisation, say), does not bring back who has left since
    if signup.confirmed and left_at is not None and signup.consent.at <= left_at:
        return found.id, status
    if status == _Status.UNSUBSCRIBED:
        queries.come_back(connection, found.id, wanted, now)
        return found.id, wanted
    if status == _Status.PENDING and signup.confirmed:
        queries.activate(connection, [found.id], now)
        return found.id, _Status.ACTIVE
    return found.id, status


def _testify(connection: Connection, subscription_ids: list[int], signup: SignUp) -> list[int]:
    action = ConsentAction.CONFIRMED if signup.confirmed else ConsentAction.REQUESTED
    given = signup.consent
    return queries.add_consents(
        connection, subscription_ids, action, given.at, ip=given.ip, form=given.form, wording=given.wording,
        evidence=given.evidence,
    )  # fmt: skip
