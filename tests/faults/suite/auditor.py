"""Compares the three books. Whatever does not agree is a finding; doubles are counted by cause."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from tests.faults.suite.books import Books, Delivery, Receipt
from tests.faults.suite.doubles import Causes
from tests.faults.suite.readers import BREAKER, POISON, WRITABLE
from worker.domain.delivery import DeliveryStatus as S

# Promise 5, and what a receiving server needs to read what was written to it.
HALT_SECONDS = 2.0
_READING_SECONDS = 0.1

_ENDED = {S.SENT, S.BOUNCED, S.FAILED, S.UNKNOWN, S.SUPPRESSED, S.CANCELLED, S.EXPIRED, S.DELIVERED, S.COMPLAINED}
_POISONED = {address for address, _ in POISON} - WRITABLE
# A post that was made to hurt may fail its own campaign.
_POISON_POST = "poison-"


@dataclass(frozen=True)
class Finding:
    """`kind`: lost, stuck, wrong, doubled, late, event, counters. `delivery` is 0 where it is about none."""

    kind: str
    text: str
    delivery: int = 0


@dataclass
class Verdict:
    findings: list[Finding] = field(default_factory=list)
    doubles: Counter[str] = field(default_factory=Counter)
    """By cause; those without one are findings too."""


def audit(books: Books) -> Verdict:
    verdict = Verdict()
    received = _by_delivery(books)
    verdict.findings += [*_events(books), *_counters(books), *_planning(books), *_strangers(books, received)]
    causes = Causes(books)
    for one in books.deliveries:
        receipts = received.get(one.message_id, [])
        verdict.findings += _status(books, one, receipts, causes)
        verdict.findings += _same(one, receipts)
        for earlier, later in pairwise(receipts):
            cause = causes.of(one, earlier, later)
            verdict.doubles[cause or "unexplained"] += 1
            if cause is None:
                verdict.findings.append(Finding("doubled", "received twice, and nothing explains it", one.id))
    verdict.findings += _late(books, received)
    return verdict


def _by_delivery(books: Books) -> dict[str, list[Receipt]]:
    found: dict[str, list[Receipt]] = defaultdict(list)
    for one in sorted(books.receipts, key=lambda receipt: receipt.at):
        found[one.message_id].append(one)
    return found


def _events(books: Books) -> Iterator[Finding]:
    """Promise 1: what was answered with 2xx is there; what was refused is not."""
    history = books.history
    for event in history.events.keys() - books.events:
        yield Finding("lost", f"the event {event} was accepted, and is not in the ledger")
    for event in (history.refused - history.events.keys()) & books.events:
        yield Finding("event", f"the event {event} was refused, and is in the ledger")
    for post in history.posts - {campaign.post for campaign in books.campaigns}:
        yield Finding("lost", f"the event of {post} was accepted, and there is no campaign")
    for address in history.confirmed - books.active - _left(books):
        yield Finding("event", f"{address} confirmed, was answered 200, and is not subscribed")
    mailed = {one.address for one in books.deliveries if one.kind == "confirmation"}
    for address in history.signed_up - mailed:
        yield Finding("lost", f"{address} signed up, was answered 202, and no confirmation is planned")


def _left(books: Books) -> set[str]:
    return {one.address for one in books.history.halted if one.address}


def _counters(books: Books) -> Iterator[Finding]:
    for key in books.counted.keys() | books.tallied.keys():
        rows, kept = books.counted.get(key, 0), books.tallied.get(key, 0)
        if rows != kept:
            yield Finding("counters", f"slice, status, reason {key}: {rows} rows, counted as {kept}")
    if books.leases:
        yield Finding("stuck", f"{books.leases} leases are left")


def _planning(books: Books) -> Iterator[Finding]:
    for campaign in books.campaigns:
        if campaign.status in ("planning", "sending", "paused"):
            yield Finding("stuck", f"campaign {campaign.id} ({campaign.post}) is still {campaign.status}")
        if campaign.status == "failed" and not campaign.post.startswith(_POISON_POST):
            yield Finding("lost", f"campaign {campaign.id} ({campaign.post}) has failed")
        cancelled = campaign.status == "cancelled" and _was_cancelled(books, campaign.post)
        if campaign.status == "cancelled" and not cancelled:
            yield Finding("wrong", f"campaign {campaign.id} ({campaign.post}) is cancelled, and nobody did that")
        missing = campaign.audience - campaign.planned
        if missing and campaign.status != "failed" and not cancelled:
            some = sorted(missing)[:5]
            yield Finding("lost", f"campaign {campaign.id}: {len(missing)} readers have no delivery: {some}")


def _was_cancelled(books: Books, post: str) -> bool:
    return any(each.what == "cancel" and each.post == post for each in books.history.halted)


def _strangers(books: Books, received: dict[str, list[Receipt]]) -> Iterator[Finding]:
    ours = {one.message_id for one in books.deliveries}
    for message_id in received.keys() - ours:
        one = received[message_id][0]
        yield Finding("wrong", f"the receiving server has {message_id} for {one.rcpt}, which the ledger does not know")


def _status(books: Books, one: Delivery, receipts: list[Receipt], causes: Causes) -> Iterator[Finding]:
    """What the ledger says of a delivery, held against what the receiving server has."""
    status = S(one.status)
    if status not in _ENDED and not _of_failed_campaign(books, one):
        yield Finding("stuck", f"{one.status} ({one.reason})", one.id)
    elif status is S.SENT and not receipts:
        yield Finding("lost", "sent, says the ledger; the receiving server has nothing", one.id)
    elif status is S.SENT:
        return
    elif all(causes.not_known(receipt) for receipt in receipts):
        # nothing was taken, or its client could not know that it was
        yield from _unsent(books, one)
    else:
        yield Finding("wrong", f"{one.status} ({one.reason}), says the ledger; the receiving server took it", one.id)


def _of_failed_campaign(books: Books, one: Delivery) -> bool:
    failed = {campaign.id for campaign in books.campaigns if campaign.status == "failed"}
    return one.campaign in failed and one.status == S.QUEUED


def _unsent(books: Books, one: Delivery) -> Iterator[Finding]:
    """Who is not written to must have a reason for it that the suite knows."""
    if one.address in _POISONED or one.status == S.QUEUED:
        return
    post = next((campaign.post for campaign in books.campaigns if campaign.id == one.campaign), "")
    excused = (
        (one.status == S.SUPPRESSED and one.address in _left(books))
        # who has confirmed by the copy whose fate was unknown needs no other
        or (one.kind == "confirmation" and one.status == S.SUPPRESSED and one.address in books.history.confirmed)
        or (one.status == S.CANCELLED and _was_cancelled(books, post))
        or (one.status == S.FAILED and one.name == BREAKER and one.reason == "template_fault")
        # what was released by hand must have arrived
        or (one.status == S.UNKNOWN and "unknown" in one.outcomes and one.id not in books.history.released)
    )
    if not excused:
        yield Finding("lost", f"{one.status} ({one.reason}), and nothing that was done to it explains that", one.id)


def _same(one: Delivery, receipts: list[Receipt]) -> Iterator[Finding]:
    if len({receipt.date for receipt in receipts}) > 1:
        yield Finding("doubled", "its copies have different dates", one.id)
    if wrong := [receipt.rcpt for receipt in receipts if receipt.rcpt != one.address]:
        yield Finding("wrong", f"went to {wrong}", one.id)


def _late(books: Books, received: dict[str, list[Receipt]]) -> Iterator[Finding]:
    """Promise 5: nothing starts more than 2 s after a pause, a cancel, a reader's leaving."""
    posts = {campaign.post: campaign.id for campaign in books.campaigns}
    for halt in books.history.halted:
        for one in books.deliveries:
            if one.campaign is None or one.campaign != posts.get(halt.post) or halt.address not in ("", one.address):
                continue
            for receipt in received.get(one.message_id, []):
                after = receipt.began - halt.since
                allowed = HALT_SECONDS + _READING_SECONDS + _lag(books, receipt.began)
                if after > allowed and receipt.began < halt.until:
                    yield Finding("late", f"{halt.what}, and its conversation began {after:.2f} s later", one.id)


def _lag(books: Books, at: float) -> float:
    """How late the receiving server may have read what came then."""
    return max((seconds for over, seconds in books.lags if over - seconds - 1 <= at <= over + 1), default=0.0)
