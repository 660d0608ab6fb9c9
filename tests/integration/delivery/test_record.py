"""Recording: outcomes become statuses, in sets, only where the fencing token still matches."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from tests.ledger import Seeded, assert_counters_agree, seed_campaign, statuses
from worker.delivery.claim import Claim, Claimer
from worker.delivery.due import Due
from worker.delivery.parcels import Hold, Result
from worker.delivery.record import RecordPolicy, record
from worker.delivery.transports.base import Exchange
from worker.domain.clock import FakeClock
from worker.domain.delivery import Reason
from worker.domain.replies import Reply, Stage
from worker.domain.retry import RetryPolicy
from worker.storage.database import Database
from worker.storage.models import AttemptRow, DeliveryRow, SubscriberRow, SuppressionRow


def policy(unknown: str = "retry") -> RecordPolicy:
    """Without jitter: every wait is the whole step."""
    return RecordPolicy(RetryPolicy(), unknown, unknown, lambda _low, high: high)


def ended(code: int, enhanced: str = "", text: str = "", stage: Stage = Stage.RCPT) -> Exchange:
    return Exchange(stage, Reply(code, enhanced, text), "", 0.25)


@pytest.fixture
def seeded(database: Database, clock: FakeClock) -> Seeded:
    return seed_campaign(database, clock.now(), 1)


def claim_one(database: Database, clock: FakeClock, seeded: Seeded) -> Claim:
    claim = Claimer(database, clock, "here:1.journal", timedelta(seconds=30)).campaign(seeded.campaign_id, {"": 1})
    assert claim is not None
    return claim


def apply(
    database: Database, clock: FakeClock, claim: Claim, exchange: Exchange | None, unknown: str = "retry",
    fault: str = "",
) -> list[Result]:  # fmt: skip
    with database.write() as connection:
        return record(connection, policy(unknown), [Result(claim.claimed[0], clock.now(), exchange, fault)])


def due(database: Database, clock: FakeClock) -> Due:
    return Due(database, clock, timedelta(days=400), timedelta(hours=4))


CUT = Exchange(Stage.BODY, None, "connection reset", 1.0)
DOWN = Exchange(Stage.CONNECT, None, "connection refused", 0.0)

CASES = [
    (ended(250, "2.0.0", "queued as 1", Stage.BODY), "sent", "", 250, 0),
    (ended(451, "4.3.0", "later"), "deferred", "temporary_reply", 451, 1),
    (ended(421, "4.7.28", "too fast", Stage.MAIL), "deferred", "throttled", 421, 1),
    (ended(550, "5.1.1", "no such user"), "bounced", "bad_address", 550, 1),
    (ended(552, "5.2.2", "full"), "bounced", "mailbox_full", 552, 1),
    (ended(550, "5.7.515", "unauthenticated", Stage.BODY), "failed", "our_fault", 550, 1),
    (CUT, "deferred", "unknown_outcome", None, 1),
    (DOWN, "deferred", "connection_failed", None, 1),
]


@pytest.mark.parametrize(
    "text", ["", "NULL", 'said "no", {or} not', "back\\slash\\", "Grüße, 🦆", "'; DROP TABLE deliveries; --", "a,b}"]
)
def test_a_reply_is_kept_as_it_was_said(database: Database, clock: FakeClock, seeded: Seeded, text: str) -> None:
    claim = claim_one(database, clock, seeded)
    assert len(apply(database, clock, claim, ended(250, "2.0.0", text, Stage.BODY))) == 1
    with database.read() as connection:
        assert connection.execute(select(DeliveryRow.reply)).scalar_one() == text


@pytest.mark.parametrize("readers", [1, 3, 4, 63, 64, 85, 250, 251])
def test_a_set_of_any_size_is_written_whole(database: Database, clock: FakeClock, readers: int) -> None:
    seeded = seed_campaign(database, clock.now(), readers)
    claim = Claimer(database, clock, "here:1.journal", timedelta(seconds=30)).campaign(seeded.campaign_id, {"": 300})
    assert claim is not None
    taken = ended(250, "2.0.0", "queued", Stage.BODY)
    with database.write() as connection:
        assert len(record(connection, policy(), [Result(one, clock.now(), taken) for one in claim.claimed])) == readers
    assert statuses(database) == {"sent": readers}
    assert_counters_agree(database)


@pytest.mark.parametrize(("exchange", "status", "reason", "code", "attempts"), CASES)
def test_an_outcome_becomes_a_status(
    database: Database, clock: FakeClock, seeded: Seeded, exchange: Exchange, status: str, reason: str,
    code: int | None, attempts: int,
) -> None:  # fmt: skip
    claim = claim_one(database, clock, seeded)
    assert len(apply(database, clock, claim, exchange)) == 1
    with database.read() as connection:
        row = connection.execute(select(DeliveryRow.__table__)).one()
        kept = connection.execute(select(AttemptRow)).all()
    assert (row.status, row.reason, row.code, row.lease_id, row.attempts) == (status, reason, code, None, 1)
    assert row.first_attempt_at == row.last_attempt_at == clock.now()
    assert len(kept) == attempts
    assert (row.next_attempt_at is not None) == (status == "deferred")
    assert_counters_agree(database)


def test_only_a_mailbox_that_is_gone_is_suppressed(database: Database, clock: FakeClock) -> None:
    for n, exchange in enumerate([ended(550, "5.1.1"), ended(552, "5.2.2"), ended(554, "5.7.1")]):
        seeded = seed_campaign(database, clock.now(), 1, post_id=f"p{n}")
        apply(database, clock, claim_one(database, clock, seeded), exchange)
    with database.read() as connection:
        rows = connection.execute(select(SuppressionRow.address, SuppressionRow.publication, SuppressionRow.reason))
        assert [tuple(row) for row in rows] == [("reader0.p0@example.com", "daily", "hard_bounce")]


def test_the_address_that_was_written_to_is_suppressed_not_the_one_the_reader_has_by_now(
    database: Database, clock: FakeClock, seeded: Seeded
) -> None:
    with database.write() as connection:
        connection.execute(update(DeliveryRow).values(address="Old@dead.example"))
        connection.execute(update(SubscriberRow).values(address="new@live.example", email="new@live.example"))
    apply(database, clock, claim_one(database, clock, seeded), ended(550, "5.1.1", "no such user"))
    with database.read() as connection:
        assert connection.execute(select(SuppressionRow.address)).scalars().all() == ["old@dead.example"]


def test_given_back_counts_no_attempt(database: Database, clock: FakeClock, seeded: Seeded) -> None:
    apply(database, clock, claim_one(database, clock, seeded), None)
    with database.read() as connection:
        row = connection.execute(select(DeliveryRow.__table__)).one()
    assert (row.status, row.attempts, row.claims, row.first_attempt_at) == ("queued", 0, 0, None)
    assert_counters_agree(database)


def test_a_wait_that_a_wrong_clock_has_dated_is_over(database: Database, clock: FakeClock, seeded: Seeded) -> None:
    """An hour ahead, a row was deferred; the clock is right again, and nobody ever waits for an hour here."""
    now_and_then = Due(database, clock, timedelta(days=400), timedelta(minutes=2))
    clock.advance(hours=1)
    apply(database, clock, claim_one(database, clock, seeded), ended(451, "4.3.0", "later"))
    assert now_and_then.retries() == 0
    clock.advance(hours=-1)
    assert now_and_then.retries() == 1
    assert_counters_agree(database)


def test_a_result_whose_lease_was_taken_over_changes_nothing(
    database: Database, clock: FakeClock, seeded: Seeded
) -> None:
    claim = claim_one(database, clock, seeded)
    with database.write() as connection:
        connection.execute(update(DeliveryRow).values(lease_id=claim.lease.id + 1))
    assert apply(database, clock, claim, ended(250, stage=Stage.BODY)) == []
    with database.read() as connection:
        assert connection.execute(select(DeliveryRow.status)).scalar_one() == "sending"


def test_an_unknown_outcome_is_held_where_that_is_the_policy(
    database: Database, clock: FakeClock, seeded: Seeded
) -> None:
    apply(database, clock, claim_one(database, clock, seeded), CUT, unknown="hold")
    with database.read() as connection:
        row = connection.execute(select(DeliveryRow.__table__)).one()
    assert (row.status, row.next_attempt_at) == ("unknown", None)
    assert_counters_agree(database)


def test_a_mail_that_cannot_be_made_fails_without_an_attempt(
    database: Database, clock: FakeClock, seeded: Seeded
) -> None:
    apply(database, clock, claim_one(database, clock, seeded), None, fault="new_post/body.html:3: no such field")
    with database.read() as connection:
        row = connection.execute(select(DeliveryRow.__table__)).one()
    assert (row.status, row.reason, row.attempts) == ("failed", "template_fault", 0)
    assert row.reply == "new_post/body.html:3: no such field"


def test_backoff_doubles_and_ends_at_the_lifetime(database: Database, clock: FakeClock, seeded: Seeded) -> None:
    waits = []
    while True:
        apply(database, clock, claim_one(database, clock, seeded), ended(451, "4.3.0"))
        with database.read() as connection:
            row = connection.execute(select(DeliveryRow.__table__)).one()
        if row.status != "deferred":
            break
        waits.append((row.next_attempt_at - clock.now()).total_seconds())
        clock.advance(seconds=waits[-1])
        assert due(database, clock).retries() == 1
    assert waits[:4] == [60, 120, 240, 480]
    assert max(waits) == 4 * 3600
    assert row.status == "expired"
    assert sum(waits) <= 72 * 3600
    with database.read() as connection:
        assert len(connection.execute(select(AttemptRow)).all()) == len(waits) + 1


def test_success_after_a_failure_keeps_the_whole_history(database: Database, clock: FakeClock, seeded: Seeded) -> None:
    apply(database, clock, claim_one(database, clock, seeded), ended(451, "4.3.0", "later"))
    assert due(database, clock).retries() == 0
    clock.advance(minutes=1)
    assert due(database, clock).retries() == 1
    assert_counters_agree(database)
    apply(database, clock, claim_one(database, clock, seeded), ended(250, "2.0.0", "ok", Stage.BODY))
    with database.read() as connection:
        outcomes = connection.execute(select(AttemptRow.outcome, AttemptRow.code).order_by(AttemptRow.id)).all()
        row = connection.execute(select(DeliveryRow.__table__)).one()
    assert [tuple(one) for one in outcomes] == [("temporary", 451), ("accepted", 250)]
    assert (row.status, row.attempts, row.reply) == ("sent", 2, "ok")


def hold(database: Database, clock: FakeClock, claim: Claim, seconds: float) -> None:
    waits = Hold(clock.now() + timedelta(seconds=seconds), Reason.THROTTLED, "mx.example: 421 too fast")
    with database.write() as connection:
        record(connection, policy(), [Result(claim.claimed[0], clock.now(), None, hold=waits)])


def test_what_its_hop_takes_not_now_waits_and_no_attempt_is_counted(
    database: Database, clock: FakeClock, seeded: Seeded
) -> None:
    hold(database, clock, claim_one(database, clock, seeded), 600)
    with database.read() as connection:
        row = connection.execute(select(DeliveryRow.__table__)).one()
        assert connection.execute(select(AttemptRow)).all() == []
    assert (row.status, row.reason, row.attempts, row.claims, row.lease_id) == ("deferred", "throttled", 0, 0, None)
    assert row.next_attempt_at == clock.now() + timedelta(seconds=600)
    assert row.reply == "mx.example: 421 too fast"
    assert row.first_attempt_at == clock.now(), "its time runs"
    assert_counters_agree(database)


def test_a_wait_beyond_the_longest_backoff_is_not_taken_for_a_wrong_clocks_work(
    database: Database, clock: FakeClock, seeded: Seeded
) -> None:
    """A server that asks for 24 hours is looked at again after 4, not with every sweep."""
    hold(database, clock, claim_one(database, clock, seeded), 24 * 3600)
    for hours, back in ((0, 0), (3.9, 0), (0.2, 1)):
        clock.advance(hours=hours)
        assert due(database, clock).retries() == back


def test_what_is_held_again_and_again_expires_with_its_time(
    database: Database, clock: FakeClock, seeded: Seeded
) -> None:
    for _ in range(2):
        hold(database, clock, claim_one(database, clock, seeded), 3600)
        clock.advance(hours=40)
        due(database, clock).retries()
    with database.read() as connection:
        assert connection.execute(select(DeliveryRow.status)).scalar_one() == "queued"
    hold(database, clock, claim_one(database, clock, seeded), 3600)
    with database.read() as connection:
        row = connection.execute(select(DeliveryRow.status, DeliveryRow.reason, DeliveryRow.attempts)).one()
    assert tuple(row) == ("expired", "throttled", 0)
    assert_counters_agree(database)
