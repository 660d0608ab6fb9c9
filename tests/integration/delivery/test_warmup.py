"""A domain that warms up: no day ever exceeds its allowance, whatever happens, and what is over waits, not expires."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from threading import Barrier, Thread

import pytest
from sqlalchemy import event, insert, select, update

from tests.ledger import Seeded, assert_counters_agree, seed_campaign, statuses
from worker.delivery.claim import START_WITHIN_SECONDS, Claim, Claimer
from worker.delivery.due import Due
from worker.delivery.journal import Journal
from worker.delivery.parcels import Result
from worker.delivery.record import RecordPolicy, record
from worker.delivery.recover import Recovery
from worker.delivery.transports.base import Exchange
from worker.domain.clock import FakeClock
from worker.domain.delivery import Kind
from worker.domain.replies import Reply, Stage
from worker.domain.retry import RetryPolicy
from worker.domain.warmup import Lane, Warmup, Warmups
from worker.storage.database import Database
from worker.storage.models import DeliveryRow, SubscriptionRow, WarmupDayRow
from worker.storage.outbox import Outgoing, put

LEASE = timedelta(seconds=30)
POLICY = RecordPolicy(RetryPolicy(), "retry", "retry", lambda _low, high: high)
ACCEPTED = Exchange(Stage.BODY, Reply(250, "2.0.0", "queued"), "", 0.1)
LATER = Exchange(Stage.RCPT, Reply(451, "4.2.0", "later"), "", 0.1)
REFUSED = Exchange(Stage.RCPT, Reply(550, "5.1.1", "no such user"), "", 0.1)
CUT = Exchange(Stage.BODY, None, "connection reset", 1.0)
DOWN = Exchange(Stage.CONNECT, None, "connection refused", 0.0)

FIRST = date(2025, 2, 9)
"""The day of the tests' clock, which begins at 14:00."""


def warming(*schedule: int, kept: float = 0.0, start: date = FIRST) -> Warmups:
    """`daily` and `weekly` send by one new domain."""
    one = Warmup("blog.example", start, schedule, kept)
    return {"daily": one, "weekly": one}


def claimer(database: Database, clock: FakeClock, warmups: Warmups, owner: str = "here:1.journal") -> Claimer:
    return Claimer(database, clock, owner, LEASE, warmups)


def used(database: Database) -> dict[tuple[date, str], int]:
    with database.read() as connection:
        rows = connection.execute(select(WarmupDayRow.day, WarmupDayRow.lane, WarmupDayRow.used))
        return {(row.day, row.lane): row.used for row in rows}


def take(one: Claimer, seeded: Seeded, limit: int = 1000) -> Claim:
    claim = one.campaign(seeded.campaign_id, {"": limit})
    assert claim is not None
    return claim


def finish(database: Database, clock: FakeClock, claim: Claim, exchanges: Sequence[Exchange | None]) -> None:
    results = [Result(one, clock.now(), how) for one, how in zip(claim.claimed, exchanges, strict=True)]
    with database.write() as connection:
        assert len(record(connection, POLICY, results)) == len(results)


def confirmations(database: Database, clock: FakeClock, seeded: Seeded, n: int) -> list[int]:
    """As if `n` readers had just signed up."""
    with database.write() as connection:
        chosen = seeded.subscriptions[:n]
        connection.execute(update(SubscriptionRow).where(SubscriptionRow.id.in_(chosen)).values(status="pending"))
        return [
            one
            for subscriber, subscription in zip(seeded.subscribers, chosen, strict=False)
            if (
                one := put(connection, Outgoing(
                    "daily", Kind.CONFIRMATION, "r@example.com", "", f"confirm:{subscription}:{clock.now()}", None,
                    subscriber_id=subscriber, subscription_id=subscription,
                ), clock.now())
            ) is not None
        ]  # fmt: skip


# -- the allowance, and who takes from it


def test_a_claim_takes_what_is_left_of_the_day(database: Database, clock: FakeClock) -> None:
    """What is over stays queued, untouched, and is told when it may go."""
    seeded = seed_campaign(database, clock.now(), 30)
    one = claimer(database, clock, warming(20))
    first, second, third = take(one, seeded, 12), take(one, seeded, 12), take(one, seeded, 12)
    assert [len(claim.claimed) for claim in (first, second, third)] == [12, 8, 0]
    midnight = datetime.fromisoformat("2025-02-10T00:00:00+00:00")
    assert [claim.held_until for claim in (first, second, third)] == [None, midnight, midnight]
    assert [claim.ended for claim in (first, second, third)] == [0, 0, 0]
    assert used(database) == {(FIRST, "bulk"): 20}
    assert statuses(database) == {"sending": 20, "queued": 10}
    with database.read() as connection:
        waiting = select(DeliveryRow.claims, DeliveryRow.attempts).where(DeliveryRow.status == "queued")
        assert {tuple(row) for row in connection.execute(waiting)} == {(0, 0)}
    assert_counters_agree(database)


def test_all_claimers_together_never_exceed_the_days_allowance(database: Database, clock: FakeClock) -> None:
    """Three workers, two publications of one domain, sizes that do not fit: to the last mail, and not one more."""
    allowance = 100
    daily = seed_campaign(database, clock.now(), 90)
    weekly = seed_campaign(database, clock.now(), 90, publication="weekly", post_id="post-2")
    taken: list[int] = []
    start = Barrier(3)

    def work(n: int) -> None:
        own = Database(database.url.render_as_string(hide_password=False))
        mine = claimer(own, clock, warming(allowance), f"here:{n}")
        start.wait()
        for seeded in (daily, weekly) if n % 2 else (weekly, daily):
            # none where the other two have taken all of this campaign's before the day is used up
            while (claim := mine.campaign(seeded.campaign_id, {"": 7 + n})) is not None:
                taken.extend(one.id for one in claim.claimed)
                if claim.held_until:
                    break
        own.close()

    threads = [Thread(target=work, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(taken) == len(set(taken)) == allowance
    assert used(database) == {(FIRST, "bulk"): allowance}
    assert statuses(database) == {"sending": allowance, "queued": 180 - allowance}
    assert_counters_agree(database)


def test_claims_and_what_comes_back_unsent_at_once_lose_no_count(database: Database, clock: FakeClock) -> None:
    """Every other claim is given back; the counter says what is really out, and nobody waits crosswise for another."""
    seeded = seed_campaign(database, clock.now(), 60)
    sent: list[int] = []
    start = Barrier(2)

    def work(n: int) -> None:
        own = Database(database.url.render_as_string(hide_password=False))
        mine = claimer(own, clock, warming(40), f"here:{n}")
        start.wait()
        for turn in range(12):
            claim = take(mine, seeded, 5)
            if claim.claimed:
                back = turn % 2 == 0
                finish(own, clock, claim, [None if back else ACCEPTED] * len(claim.claimed))
                sent.extend(one.id for one in claim.claimed if not back)
        own.close()

    threads = [Thread(target=work, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert 0 < len(sent) <= 40
    assert used(database) == {(FIRST, "bulk"): len(sent)}
    assert statuses(database) == {"sent": len(sent), "queued": 60 - len(sent)}
    assert_counters_agree(database)


def test_the_next_day_has_its_own_allowance_and_after_the_last_there_is_none(
    database: Database, clock: FakeClock
) -> None:
    seeded = seed_campaign(database, clock.now(), 60)
    one = claimer(database, clock, warming(10, 15))
    assert len(take(one, seeded).claimed) == 10
    clock.advance(hours=24)
    claim = take(one, seeded)
    assert (len(claim.claimed), claim.held_until) == (15, datetime.fromisoformat("2025-02-11T00:00:00+00:00"))
    clock.advance(hours=24)
    claim = take(one, seeded)
    assert (len(claim.claimed), claim.held_until) == (35, None)
    assert used(database) == {(FIRST, "bulk"): 10, (FIRST + timedelta(days=1), "bulk"): 15}


def test_what_must_not_go_uses_nothing_of_the_allowance(database: Database, clock: FakeClock) -> None:
    seeded = seed_campaign(database, clock.now(), 10)
    with database.write() as connection:
        gone = SubscriptionRow.id.in_(seeded.subscriptions[:6])
        connection.execute(update(SubscriptionRow).where(gone).values(status="unsubscribed"))
    claim = take(claimer(database, clock, warming(4)), seeded)
    assert (len(claim.claimed), claim.ended, claim.held_until) == (4, 6, None)
    assert used(database) == {(FIRST, "bulk"): 4}


def test_a_domain_that_is_not_warming_costs_nothing(database: Database, clock: FakeClock) -> None:
    """Not one statement, in the claim, in the record or where something comes back."""

    def asked(post_id: str, warmups: Warmups) -> list[str]:
        seeded = seed_campaign(database, clock.now(), 3, post_id=post_id)
        seen: list[str] = []

        def note(*given: object) -> None:
            seen.append(str(given[2]))

        event.listen(database.engine, "before_cursor_execute", note)
        finish(database, clock, take(claimer(database, clock, warmups), seeded), [ACCEPTED, None, LATER])
        event.remove(database.engine, "before_cursor_execute", note)
        return seen

    plain = asked("plain", {})
    assert asked("another", {"weekly": Warmup("weekly.example", FIRST, (5,), 0.1)}) == plain
    assert asked("over", warming(5, start=FIRST - timedelta(days=1))) == plain
    assert len(asked("warm", warming(5))) > len(plain)
    assert not any("warmup_days" in one for one in plain)


# -- transactional mail


def test_a_confirmation_counts_and_is_never_held_back(database: Database, clock: FakeClock) -> None:
    seeded = seed_campaign(database, clock.now(), 30)
    one = claimer(database, clock, warming(10))
    assert len(take(one, seeded, 10).claimed) == 10
    claim = one.transactional(confirmations(database, clock, seeded, 5))
    assert claim is not None
    assert (len(claim.claimed), claim.held_until) == (5, None)
    assert used(database) == {(FIRST, "bulk"): 10, (FIRST, "transactional"): 5}


def test_bulk_leaves_room_for_confirmations(database: Database, clock: FakeClock) -> None:
    """Its tenth, and what they took beyond that."""
    seeded = seed_campaign(database, clock.now(), 60)
    one = claimer(database, clock, warming(40, kept=0.1))
    assert one.transactional(confirmations(database, clock, seeded, 6)) is not None
    other = seed_campaign(database, clock.now(), 60, post_id="post-2")
    assert len(take(one, other).claimed) == 34
    assert sum(used(database).values()) == 40


@pytest.mark.parametrize("backend", ["postgresql"])
def test_a_confirmation_does_not_wait_for_a_bulk_claim(database: Database, clock: FakeClock) -> None:
    """A bulk worker that is stopped in the middle of its claim holds the bulk lane's counter alone."""
    seeded = seed_campaign(database, clock.now(), 20)
    one = claimer(database, clock, warming(10))
    assert len(take(one, seeded, 1).claimed) == 1
    mails = confirmations(database, clock, seeded, 3)
    with database.write() as connection:
        connection.execute(select(WarmupDayRow.id).where(WarmupDayRow.lane == Lane.BULK).with_for_update())
        claim = one.transactional(mails)
    assert claim is not None
    assert len(claim.claimed) == 3


# -- what counts, and what comes back


def test_what_was_never_offered_comes_back_and_every_offer_counts(database: Database, clock: FakeClock) -> None:
    seeded = seed_campaign(database, clock.now(), 6)
    one = claimer(database, clock, warming(100))
    claim = take(one, seeded)
    finish(database, clock, claim, [ACCEPTED, LATER, REFUSED, CUT, DOWN, None])
    # accepted, deferred, refused, cut behind its body; not: no connection, given back
    assert used(database) == {(FIRST, "bulk"): 4}


def test_a_retry_is_one_more(database: Database, clock: FakeClock) -> None:
    seeded = seed_campaign(database, clock.now(), 1)
    one = claimer(database, clock, warming(2))
    finish(database, clock, take(one, seeded), [LATER])
    for _ in range(2):
        clock.advance(minutes=20)
        Due(database, clock, timedelta(days=400), timedelta(hours=4)).retries()
        claim = take(one, seeded)
        finish(database, clock, claim, [LATER] * len(claim.claimed))
    assert used(database) == {(FIRST, "bulk"): 2}
    assert claim.held_until is not None
    assert statuses(database) == {"queued": 1}


def test_a_mail_that_cannot_be_made_comes_back(database: Database, clock: FakeClock) -> None:
    seeded = seed_campaign(database, clock.now(), 2)
    claim = take(claimer(database, clock, warming(100)), seeded)
    results = [Result(one, clock.now(), None, fault="no such field") for one in claim.claimed]
    with database.write() as connection:
        record(connection, POLICY, results)
    assert used(database) == {(FIRST, "bulk"): 0}
    assert statuses(database) == {"failed": 2}


def test_what_comes_back_on_the_next_day_comes_back_to_its_own(database: Database, clock: FakeClock) -> None:
    """The day that has just begun must not get a mail more by it."""
    seeded = seed_campaign(database, clock.now(), 40)
    one = claimer(database, clock, warming(10, 20))
    late = take(one, seeded)
    clock.advance(hours=12)
    assert len(take(one, seeded).claimed) == 20
    finish(database, clock, late, [None] * 10)
    assert used(database) == {(FIRST, "bulk"): 0, (FIRST + timedelta(days=1), "bulk"): 20}
    claim = take(one, seeded)
    assert (claim.claimed, claim.held_until is not None) == ((), True)


def test_a_result_whose_lease_was_taken_over_gives_nothing_back_twice(
    database: Database, clock: FakeClock, tmp_path: Path
) -> None:
    seeded = seed_campaign(database, clock.now(), 10)
    claim = take(claimer(database, clock, warming(10), "elsewhere:1.journal"), seeded)
    clock.advance(seconds=31)
    assert Recovery(database, clock, POLICY, tmp_path).run() == 1
    assert used(database) == {(FIRST, "bulk"): 0}
    with database.write() as connection:
        assert record(connection, POLICY, [Result(one, clock.now(), None) for one in claim.claimed]) == []
    assert used(database) == {(FIRST, "bulk"): 0}


def test_a_killed_workers_unsent_mails_come_back_to_the_counter(
    database: Database, clock: FakeClock, tmp_path: Path
) -> None:
    """Its journal tells which were offered: those stay counted, whatever the recovering process is told of warm-ups."""
    seeded = seed_campaign(database, clock.now(), 10)
    journal = Journal(tmp_path)
    answered, open_, *_ = take(claimer(database, clock, warming(10), journal.owner), seeded).claimed
    journal.body_begins(answered)
    journal.outcome(answered, clock.now(), ACCEPTED)
    journal.body_begins(open_)
    os.close(journal._fd)
    Recovery(database, clock, POLICY, tmp_path).run()
    assert used(database) == {(FIRST, "bulk"): 2}
    assert statuses(database) == {"sent": 1, "deferred": 1, "queued": 8}
    assert len(take(claimer(database, clock, warming(10)), seeded).claimed) == 8
    assert used(database) == {(FIRST, "bulk"): 10}
    assert_counters_agree(database)


# -- clocks


def test_no_claim_is_made_that_would_start_tomorrow(database: Database, clock: FakeClock) -> None:
    """A claim's mails start within 1.8 s of it: in the day's last ones it waits, and the day stays within its own."""
    seeded = seed_campaign(database, clock.now(), 10)
    one = claimer(database, clock, warming(4, 6))
    clock.advance(hours=10, seconds=-START_WITHIN_SECONDS)
    claim = take(one, seeded)
    assert (claim.claimed, claim.held_until) == ((), datetime.fromisoformat("2025-02-10T00:00:00+00:00"))
    clock.advance(seconds=START_WITHIN_SECONDS)
    assert len(take(one, seeded).claimed) == 6
    assert used(database) == {(FIRST + timedelta(days=1), "bulk"): 6}


def test_a_clock_that_steps_exceeds_no_day(database: Database, clock: FakeClock) -> None:
    """An hour to and fro over midnight, again and again: each day's counter is where it was left."""
    seeded = seed_campaign(database, clock.now(), 200)
    one = claimer(database, clock, warming(30, 50))
    clock.advance(hours=9, minutes=30)
    taken: Counter[date] = Counter()
    for step in (0, 1, -1, 1, -1, -1, 1, 1):
        clock.advance(hours=step)
        for _ in range(3):
            taken[clock.now().date()] += len(take(one, seeded, 20).claimed)
    assert taken == {FIRST: 30, FIRST + timedelta(days=1): 50}
    assert used(database) == {(day, "bulk"): n for day, n in taken.items()}


def test_a_clock_that_falls_behind_the_start_does_not_open_it(database: Database, clock: FakeClock) -> None:
    seeded = seed_campaign(database, clock.now(), 100)
    one = claimer(database, clock, warming(10, 20))
    clock.advance(hours=-15)
    assert len(take(one, seeded).claimed) == 10


def test_a_day_that_changes_in_the_middle_of_the_claims_exceeds_neither(database: Database, clock: FakeClock) -> None:
    """Two claimers whose clocks are 4 s apart, over midnight."""
    seeded = seed_campaign(database, clock.now(), 200)
    fast, slow = FakeClock(clock.now() + timedelta(seconds=4)), clock
    warmups = warming(40, 60)
    taken: Counter[date] = Counter()
    start = Barrier(2)

    def work(mine: FakeClock, owner: str) -> None:
        own = Database(database.url.render_as_string(hide_password=False))
        one = claimer(own, mine, warmups, owner)
        mine.advance(hours=9, minutes=59, seconds=50)
        start.wait()
        for _ in range(24):
            claim = take(one, seeded, 5)
            taken[mine.now().date()] += len(claim.claimed)
            mine.advance(seconds=1)
        own.close()

    threads = [Thread(target=work, args=(mine, str(n))) for n, mine in enumerate((fast, slow))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert taken == {FIRST: 40, FIRST + timedelta(days=1): 60}
    assert used(database) == {(day, "bulk"): n for day, n in taken.items()}


# -- what waits


def test_nothing_expires_for_it(database: Database, clock: FakeClock) -> None:
    """A post whose readers wait for weeks, and a retry that waits beyond its lifetime: both are sent."""
    seeded = seed_campaign(database, clock.now(), 12)
    one = claimer(database, clock, warming(*[1] * 11))
    due = Due(database, clock, timedelta(days=400), timedelta(hours=4))
    finish(database, clock, take(one, seeded), [LATER])
    for _ in range(20):
        clock.advance(hours=24)
        due.retries()
        due.expired()
        claim = take(one, seeded)
        finish(database, clock, claim, [ACCEPTED] * len(claim.claimed))
        if statuses(database) == {"sent": 12}:
            break
    assert statuses(database) == {"sent": 12}
    assert_counters_agree(database)


def test_old_counters_go(database: Database, clock: FakeClock) -> None:
    with database.write() as connection:
        for age in (0, 399, 400, 401):
            connection.execute(insert(WarmupDayRow).values(
                domain="blog.example", day=FIRST - timedelta(days=age), lane=Lane.BULK, used=age
            ))  # fmt: skip
    assert Due(database, clock, timedelta(days=400), timedelta(hours=4)).retention() == 1
    assert sorted(used(database).values()) == [0, 399, 400]
