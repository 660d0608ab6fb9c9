"""Each quick look finds what it is for, on both databases, and nothing in a healthy ledger."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import delete, insert, update

from tests.integration.campaigns.readers import set_status
from tests.ledger import Seeded, seed_campaign
from worker.audit.findings import QUICK, Finding, Kind
from worker.audit.looks import AuditRules, quick, sweep_age
from worker.delivery.claim import Claimer
from worker.domain.clock import FakeClock
from worker.domain.delivery import Kind as MailKind
from worker.storage import ledger
from worker.storage.database import Database
from worker.storage.models import CampaignRow, DeliveryRow, LeaseRow, SlotRow
from worker.storage.outbox import Outgoing, put

RULES = AuditRules(timedelta(seconds=5), lambda _: 2, timedelta(days=400))
Found = Callable[[], dict[Kind, Finding]]


@pytest.fixture
def seeded(database: Database, clock: FakeClock) -> Seeded:
    return seed_campaign(database, clock.now(), 10)


@pytest.fixture
def found(database: Database, clock: FakeClock) -> Found:
    """What is found now, in a ledger whose sweep and chains are at work."""

    def look() -> dict[Kind, Finding]:
        with database.write() as connection:
            ledger.advance(connection, clock.now())
            connection.execute(delete(SlotRow))
            connection.execute(insert(SlotRow).values(slot=0, rung=1, started=1, touched_at=clock.now()))
        with database.read() as connection:
            return {one.kind: one for one in quick(connection, RULES, clock.now())}

    return look


def claim(database: Database, clock: FakeClock, seeded: Seeded) -> None:
    Claimer(database, clock, "here:1.journal", timedelta(seconds=30)).campaign(seeded.campaign_id, {"": 3})


def test_a_healthy_ledger(database: Database, clock: FakeClock, seeded: Seeded, found: Found) -> None:
    claim(database, clock, seeded)
    set_status(database, seeded.deliveries[5:7], "deferred", next_attempt_at=clock.now())
    assert found() == {}
    clock.advance(seconds=20)
    assert found() == {}


def test_a_sweep_that_does_not_run(database: Database, clock: FakeClock) -> None:
    with database.read() as connection:
        (never,) = quick(connection, RULES, clock.now())
        assert sweep_age(connection, clock.now()) == float("inf")
    assert (never.kind, never.words) == (Kind.SWEEP_SILENT, "no sweep has ever been through")
    with database.write() as connection:
        ledger.advance(connection, clock.now())
    clock.advance(seconds=61)
    with database.read() as connection:
        (silent,) = quick(connection, RULES, clock.now())
        assert sweep_age(connection, clock.now()) == 61
    assert silent.words == "no sweep has been through for 0:01:01"
    assert "pressrun part scheduler" in silent.fix


def test_sending_that_is_held(database: Database, clock: FakeClock, seeded: Seeded, found: Found) -> None:
    with database.write() as connection:
        ledger.hold(connection, clock.now(), "restored from a copy?")
    clock.advance(minutes=5)
    # and what stands still by it is no finding of its own
    assert set(found()) == {Kind.SENDING_HELD}


def test_leases_that_nobody_takes_over(database: Database, clock: FakeClock, seeded: Seeded, found: Found) -> None:
    claim(database, clock, seeded)
    clock.advance(seconds=61)
    one = found()[Kind.LEASE_EXPIRED]
    assert (one.n, one.words) == (1, "1 claims ran out, the first 0:00:31 ago, and nobody has taken them over")
    assert one.fix == "`pressrun audit --mend`"


def test_a_lease_without_rows_and_rows_without_a_lease(
    database: Database, clock: FakeClock, seeded: Seeded, found: Found
) -> None:
    claim(database, clock, seeded)
    with database.write() as connection:
        connection.execute(update(DeliveryRow).where(DeliveryRow.lease_id.is_not(None)).values(lease_id=999))
        connection.execute(update(LeaseRow).values(expires_at=clock.now() + timedelta(hours=1)))
    clock.advance(seconds=31)
    seen = found()
    assert seen[Kind.LEASE_EMPTY].n == 1
    assert seen[Kind.SENDING_WITHOUT_LEASE].words == "3 deliveries are being sent under a claim that is not there"


def test_what_is_overdue(database: Database, clock: FakeClock, seeded: Seeded, found: Found) -> None:
    now = clock.now()
    set_status(database, seeded.deliveries[:4], "deferred", next_attempt_at=now)
    set_status(database, seeded.deliveries[4:6], "deferred", next_attempt_at=now, expires_at=now)
    set_status(database, seeded.deliveries[6:7], "queued", expires_at=now)
    clock.advance(seconds=31)
    seen = found()
    assert (seen[Kind.RETRY_OVERDUE].n, seen[Kind.EXPIRY_OVERDUE].n) == (6, 3)
    assert "due, the first since 0:00:31" in seen[Kind.RETRY_OVERDUE].words


def test_a_confirmation_that_waits(database: Database, clock: FakeClock, found: Found) -> None:
    with database.write() as connection:
        put(connection, Outgoing("daily", MailKind.WELCOME, "a@example.com", "", "w:1", None), clock.now())
    clock.advance(seconds=50)
    assert found() == {}
    clock.advance(seconds=20)
    assert found()[Kind.TRANSACTIONAL_LATE].words == "1 confirmations and the like wait, the first since 0:01:10"


def test_unknown_outcomes_that_wait_for_a_word(
    database: Database, seeded: Seeded, found: Found
) -> None:
    set_status(database, seeded.deliveries[:2], "unknown", "unknown_outcome")
    one = found()[Kind.UNKNOWN_HELD]
    assert (one.n, one.words) == (2, "2 of campaign 1 may or may not have been taken, and wait for your word")
    assert "`pressrun retry 1 --status unknown` or `pressrun mark-sent 1`" in one.fix


def test_mail_that_is_due_with_no_chain_ringing(
    database: Database, clock: FakeClock, seeded: Seeded, found: Found
) -> None:
    clock.advance(seconds=61)
    found()
    with database.write() as connection:
        connection.execute(update(SlotRow).values(touched_at=clock.now() - timedelta(seconds=61)))
    with database.read() as connection:
        (one,) = quick(connection, RULES, clock.now())
    assert one.kind is Kind.CHAINS_SILENT
    # a chain above those that are in use says nothing
    with database.write() as connection:
        connection.execute(insert(SlotRow).values(slot=7, rung=1, started=1, touched_at=clock.now()))
    with database.read() as connection:
        assert [one.kind for one in quick(connection, RULES, clock.now())] == [Kind.CHAINS_SILENT]


def test_campaigns_that_stand_still(database: Database, clock: FakeClock, seeded: Seeded, found: Found) -> None:
    with database.write() as connection:
        connection.execute(update(CampaignRow).values(status="planning", planned_at=None))
    assert found() == {}
    clock.advance(seconds=61)
    assert found()[Kind.CAMPAIGN_UNPLANNED].words == "campaign 1 is to be planned, and nobody is at it"
    with database.write() as connection:
        connection.execute(update(CampaignRow).values(status="sending", planned_at=clock.now(), served_at=clock.now()))
    set_status(database, seeded.deliveries, "sent")
    assert found() == {}
    clock.advance(seconds=61)
    assert set(found()) == {Kind.CAMPAIGN_UNFINISHED}
    with database.write() as connection:
        connection.execute(update(CampaignRow).values(status="failed", reason="body.html:3: no"))
    one = found()[Kind.CAMPAIGN_FAILED]
    assert one.words == "campaign 1 has failed: body.html:3: no"
    assert "`pressrun retry 1`; or `pressrun cancel 1`" in one.fix


def test_what_is_found_at_each_scrape_is_counted_by_its_kind() -> None:
    assert set(QUICK) < set(Kind)
    assert len(set(QUICK)) == len(QUICK)
