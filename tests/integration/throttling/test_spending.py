"""Tokens of what was claimed and not sent come back, whoever keeps the limits."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from tests.integration.delivery.test_courier import claimed
from worker.delivery.claim import Claim
from worker.delivery.parcels import Hold, Lease, Result
from worker.delivery.spending import Spending
from worker.delivery.throttling import Limit, Limiter
from worker.delivery.transports.base import Exchange
from worker.domain.delivery import Reason
from worker.domain.replies import Reply, Stage

HOURLY = (Limit("overall", 100, 3600),)
NOW = datetime.now(UTC)
SENT = Exchange(Stage.BODY, Reply(250, "2.0.0", "taken"), "", 0.1)


def claim(lease_id: int, rows: int) -> Claim:
    ours = tuple(replace(claimed(number), lease_id=lease_id) for number in range(rows))
    return Claim(Lease(lease_id, 0.0, 0.0, NOW, rows), ours, 0)


def used(limiter: Limiter) -> int:
    return limiter.state(["overall"])[0].used


def test_what_was_held_or_given_back_is_not_counted(limiter: Limiter) -> None:
    spending = Spending(limiter)
    grant = spending.take(HOURLY, 1)
    assert grant.tokens == 1
    one = claim(7, 1)
    spending.claimed(HOURLY, grant, one, "")
    hold = Hold(NOW + timedelta(minutes=1), Reason.CONNECTION_FAILED, "nobody listens")
    spending.recorded([Result(one.claimed[0], NOW, None, hold=hold)])
    assert used(limiter) == 1
    assert spending.take(HOURLY, 0).tokens == 0
    assert used(limiter) == 0


def test_what_was_sent_is(limiter: Limiter) -> None:
    spending = Spending(limiter)
    one = claim(7, 1)
    spending.claimed(HOURLY, spending.take(HOURLY, 1), one, "")
    spending.recorded([Result(one.claimed[0], NOW, SENT)])
    spending.take(HOURLY, 0)
    assert used(limiter) == 1


def test_more_tokens_than_rows_come_back_at_once_and_nobodys_never(limiter: Limiter) -> None:
    spending = Spending(limiter)
    spending.claimed(HOURLY, spending.take(HOURLY, 1), None, "")
    assert used(limiter) == 0
    spending.recorded([Result(claimed(1), NOW, None)])
    assert spending.take(HOURLY, 0).tokens == 0
    assert used(limiter) == 0


def test_each_destination_of_a_claim_has_its_own_tokens(limiter: Limiter) -> None:
    spending = Spending(limiter)
    both = claim(7, 2)
    both.claimed[1].destination = "google"
    for one in both.claimed:
        limits = (Limit(f"destination:{one.destination or 'other'}", 100, 3600),)
        spending.claimed(limits, spending.take(limits, 1), both, one.destination)
    spending.recorded([Result(both.claimed[0], NOW, SENT), Result(both.claimed[1], NOW, None)])
    spending.take(HOURLY, 0)
    assert [one.used for one in limiter.state(["destination:other", "destination:google"])] == [1, 0]
