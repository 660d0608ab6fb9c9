"""The recorder's thread and its leases: whatever goes wrong with one row, the others and the thread go on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest
from sqlalchemy import Connection, select

from tests.ledger import Seeded, assert_counters_agree, seed_campaign, statuses
from tests.running import wait_until
from worker.delivery import queries
from worker.delivery.claim import Claim, Claimer
from worker.delivery.journal import Journal
from worker.delivery.lane import Job, Mail
from worker.delivery.parcels import Claimed, Result
from worker.delivery.record import RecordPolicy
from worker.delivery.recorder import Recorder
from worker.delivery.recover import Recovery
from worker.delivery.transports.base import Exchange
from worker.domain.clock import FakeClock, SystemClock
from worker.domain.replies import Reply, Stage
from worker.domain.retry import RetryPolicy
from worker.storage.database import Database
from worker.storage.models import LeaseRow

LEASE = timedelta(seconds=30)
ACCEPTED = Exchange(Stage.BODY, Reply(250, "2.0.0", "queued"), "", 0.1)
LATER = Exchange(Stage.RCPT, Reply(451, "4.3.0", "later"), "", 0.1)


def policy(uniform: Callable[[float, float], float] = lambda _low, high: high) -> RecordPolicy:
    return RecordPolicy(RetryPolicy(), "retry", "retry", uniform)


def broken(_low: float, _high: float) -> float:
    raise ZeroDivisionError("a row that cannot be recorded")


Make = Callable[[RecordPolicy], Recorder]


@pytest.fixture
def recorder(database: Database) -> Iterator[Make]:
    with ExitStack() as stack:

        def make(chosen: RecordPolicy) -> Recorder:
            one = Recorder(database, chosen, SystemClock(), LEASE, lambda _written: None)
            stack.callback(one.stop, 5.0)
            return one

        yield make


def claim(database: Database, seeded: Seeded, owner: str) -> Claim:
    found = Claimer(database, SystemClock(), owner, LEASE).campaign(seeded.campaign_id, {"": 10})
    assert found is not None
    return found


def result(claimed: Claimed, exchange: Exchange) -> Result:
    return Result(claimed, SystemClock().now(), exchange)


def leases(database: Database) -> Sequence[int]:
    with database.read() as connection:
        return connection.execute(select(LeaseRow.id)).scalars().all()


def test_a_row_that_cannot_be_recorded_keeps_its_lease_for_the_sweep(
    database: Database, recorder: Make, tmp_path: Path
) -> None:
    """Though the others of its claim are recorded later: a row without a lease would be `sending` for ever."""
    seeded = seed_campaign(database, SystemClock().now(), 2)
    journal = Journal(tmp_path)
    found = claim(database, seeded, journal.owner)
    one = recorder(policy(broken))
    one.expect(found.lease)
    bad, good = found.claimed
    journal.outcome(bad, SystemClock().now(), LATER)
    one.take(result(bad, LATER))
    wait_until(lambda: one.open == 1, 10)
    one.take(result(good, ACCEPTED))
    assert one.wait_idle(10)
    assert statuses(database) == {"sending": 1, "sent": 1}
    assert leases(database) == [found.lease.id]
    # what the journal says of it is read by the sweep: it is not made small by that
    assert one.leases == {found.lease.id}
    later = FakeClock(SystemClock().now() + timedelta(seconds=31))
    Recovery(database, later, policy(), tmp_path).run()
    assert statuses(database) == {"deferred": 1, "sent": 1}
    assert leases(database) == []
    assert_counters_agree(database)
    journal.close()


def test_a_fault_in_the_renewal_does_not_end_the_thread(
    database: Database, recorder: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its recorder a process would go on sending, and nothing of it would be written down."""
    seeded = seed_campaign(database, SystemClock().now(), 1)
    found = claim(database, seeded, "here:1.journal")
    asked = []

    def fault(_connection: Connection, ids: Sequence[int], *_: object) -> set[int]:
        asked.append(ids)
        raise ZeroDivisionError("a bug of ours")

    monkeypatch.setattr(queries, "renew_leases", fault)
    one = recorder(policy())
    found.lease.valid_until = SystemClock().ticks()
    one.expect(found.lease)
    wait_until(lambda: bool(asked), 10)
    one.take(result(found.claimed[0], ACCEPTED))
    assert one.wait_idle(10)
    assert statuses(database) == {"sent": 1}


def test_nothing_begins_under_a_lease_that_could_not_be_renewed(database: Database, recorder: Make) -> None:
    """A sweep has ended it, on another host, say, whose clock is ahead: by ours there is time left."""
    seeded = seed_campaign(database, SystemClock().now(), 1)
    found = claim(database, seeded, "here:1.journal")
    with database.write() as connection:
        assert queries.end_lease(connection, found.lease.id, SystemClock().now() + timedelta(seconds=31))
    one = recorder(policy())
    found.lease.valid_until = SystemClock().ticks() + 10
    one.expect(found.lease)
    wait_until(lambda: found.lease.valid_until == 0.0, 10)
    job = Job(found.claimed[0], found.lease, cast(Mail, None))
    assert job.lease_over(SystemClock())
    one.take(Result(found.claimed[0], SystemClock().now(), None))
    assert one.wait_idle(10)


def test_a_result_nobody_waits_for_does_not_end_the_thread(database: Database, recorder: Make) -> None:
    seeded = seed_campaign(database, SystemClock().now(), 2)
    first = claim(database, seeded, "here:1.journal")
    one = recorder(policy())
    one.expect(first.lease)
    for claimed in (first.claimed[0], first.claimed[1], first.claimed[1]):
        one.take(result(claimed, ACCEPTED))
    wait_until(lambda: statuses(database) == {"sent": 2}, 10)
    other = seed_campaign(database, SystemClock().now(), 1, post_id="post-2")
    second = claim(database, other, "here:1.journal")
    one.expect(second.lease)
    one.take(result(second.claimed[0], ACCEPTED))
    wait_until(lambda: statuses(database) == {"sent": 3}, 10)
    assert_counters_agree(database)


@pytest.mark.parametrize("backend", ["sqlite"])
def test_stopping_does_not_wait_for_a_database_that_stays_away(database: Database, recorder: Make) -> None:
    seeded = seed_campaign(database, SystemClock().now(), 1)
    found = claim(database, seeded, "here:1.journal")
    one = recorder(policy())
    one.expect(found.lease)
    path = Path(str(database.url.database))
    database.close()
    lock = Path(f"{path}.lock")
    lock.unlink()
    # nobody can take a turn any more
    lock.mkdir()
    one.take(result(found.claimed[0], ACCEPTED))
    assert not one.wait_idle(0.3)
    assert not one.stop(0.5)
    lock.rmdir()


@pytest.mark.parametrize("backend", ["sqlite"])
def test_an_idle_recorder_stops_at_once(database: Database) -> None:
    """However the stop meets its waiting: a second of it would leave the journal behind."""
    for pause in (0.0, 0.001, 0.01, 0.05, 0.12):
        one = Recorder(database, policy(), SystemClock(), LEASE, lambda _written: None)
        time.sleep(pause)
        assert one.stop(0.5)


def test_results_from_several_threads_are_all_recorded(database: Database, recorder: Make) -> None:
    seeded = seed_campaign(database, SystemClock().now(), 600)
    found = Claimer(database, SystemClock(), "here:1.journal", LEASE).campaign(seeded.campaign_id, {"": 600})
    assert found is not None
    one = recorder(policy())
    one.expect(found.lease)

    def hand_in(part: Sequence[Claimed]) -> None:
        for claimed in part:
            one.take(result(claimed, ACCEPTED))

    threads = [threading.Thread(target=hand_in, args=(found.claimed[part::4],)) for part in range(4)]
    for thread in threads:
        thread.start()
    assert one.wait_idle(20)
    assert statuses(database) == {"sent": 600}
    assert leases(database) == []
    assert_counters_agree(database)
