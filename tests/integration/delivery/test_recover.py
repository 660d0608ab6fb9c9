"""Taking over what a dead or stopped owner left (promises 3 and 4)."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select, update

from tests.ledger import Seeded, assert_counters_agree, seed_campaign, statuses
from worker.delivery import queries, recover
from worker.delivery.claim import MAX_CLAIMS, Claim, Claimer
from worker.delivery.journal import Deceased, Entries, Journal, host_id, read_journal
from worker.delivery.record import RecordPolicy
from worker.delivery.recover import Recovery
from worker.delivery.transports.base import Exchange
from worker.domain.clock import FakeClock
from worker.domain.replies import Reply, Stage
from worker.domain.retry import RetryPolicy
from worker.storage.database import Database
from worker.storage.models import AttemptRow, DeliveryRow, LeaseRow

POLICY = RecordPolicy(RetryPolicy(), "retry", "retry", lambda _low, high: high)
ACCEPTED = Exchange(Stage.BODY, Reply(250, "2.0.0", "queued"), "", 0.1)


def recovery(database: Database, clock: FakeClock, folder: Path) -> Recovery:
    return Recovery(database, clock, POLICY, folder)


def take(database: Database, clock: FakeClock, seeded: Seeded, owner: str, limit: int = 10) -> Claim:
    claim = Claimer(database, clock, owner, timedelta(seconds=30)).campaign(seeded.campaign_id, {"": limit})
    assert claim is not None
    return claim


def die(journal: Journal) -> None:
    """What the kernel does at a SIGKILL: the lock goes, the file stays."""
    os.close(journal._fd)


def test_a_dead_owners_journal_decides(database: Database, clock: FakeClock, tmp_path: Path) -> None:
    seeded = seed_campaign(database, clock.now(), 3)
    journal = Journal(tmp_path)
    claim = take(database, clock, seeded, journal.owner)
    answered, open_, untouched = claim.claimed
    journal.body_begins(answered)
    journal.outcome(answered, clock.now(), ACCEPTED)
    journal.body_begins(open_)
    die(journal)
    assert recovery(database, clock, tmp_path).run() == 1
    with database.read() as connection:
        rows = connection.execute(select(DeliveryRow.id, DeliveryRow.status, DeliveryRow.reason, DeliveryRow.claims))
        found = {row.id: (row.status, row.reason, row.claims) for row in rows}
        attempts = connection.execute(select(AttemptRow.delivery_id, AttemptRow.outcome)).all()
        leases = connection.execute(select(LeaseRow)).all()
    assert found == {
        answered.id: ("sent", "", 0),
        open_.id: ("deferred", "unknown_outcome", 0),
        untouched.id: ("queued", "", 1),
    }
    assert [tuple(one) for one in attempts] == [(open_.id, "unknown")]
    assert leases == []
    assert not journal.path.exists()
    assert_counters_agree(database)


def test_a_living_owner_keeps_its_lease_until_it_expires(
    database: Database, clock: FakeClock, tmp_path: Path
) -> None:
    seeded = seed_campaign(database, clock.now(), 2)
    journal = Journal(tmp_path)
    claim = take(database, clock, seeded, journal.owner)
    journal.body_begins(claim.claimed[0])
    journal.outcome(claim.claimed[0], clock.now(), ACCEPTED)
    assert recovery(database, clock, tmp_path).run() == 0
    assert statuses(database) == {"sending": 2}
    clock.advance(seconds=31)
    assert recovery(database, clock, tmp_path).run() == 1
    assert statuses(database) == {"sent": 1, "queued": 1}
    assert journal.path.exists()
    journal.close()


def test_a_lease_that_was_renewed_since_the_look_stays(
    database: Database, clock: FakeClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweep was stopped in between, or waited long for its turn to write."""
    seeded = seed_campaign(database, clock.now(), 1)
    take(database, clock, seeded, "elsewhere:1-aa.journal")
    clock.advance(seconds=31)
    look = queries.leases

    def and_renewed(connection: Connection) -> Sequence[Any]:
        rows = look(connection)
        with database.write() as writing:
            renewed = update(LeaseRow).values(expires_at=clock.now() + timedelta(seconds=30))
            writing.execute(renewed)
        return rows

    monkeypatch.setattr(queries, "leases", and_renewed)
    assert recovery(database, clock, tmp_path).run() == 0
    assert statuses(database) == {"sending": 1}


def test_one_that_is_being_taken_over_is_renewed_no_more(
    database: Database, clock: FakeClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By an owner who looked at its clock before the end, and was stopped: it would send what no journal said."""
    seeded = seed_campaign(database, clock.now(), 1)
    journal = Journal(tmp_path)
    claim = take(database, clock, seeded, journal.owner)
    before = clock.now()
    clock.advance(seconds=31)
    kept: list[set[int]] = []

    def and_renew(path: Path) -> Entries:
        with database.write() as connection:
            ends = {claim.lease.id: claim.lease.expires_at}
            kept.append(queries.renew_leases(connection, ends, before, before + timedelta(seconds=60)))
        return read_journal(path)

    monkeypatch.setattr(recover, "read_journal", and_renew)
    assert recovery(database, clock, tmp_path).run() == 1
    assert kept == [set()]
    assert statuses(database) == {"queued": 1}
    journal.close()


def test_another_hosts_lease_waits_for_its_end(database: Database, clock: FakeClock, tmp_path: Path) -> None:
    seeded = seed_campaign(database, clock.now(), 1)
    take(database, clock, seeded, "elsewhere:1-aa.journal")
    assert recovery(database, clock, tmp_path).run() == 0
    clock.advance(seconds=31)
    assert recovery(database, clock, tmp_path).run() == 1
    assert statuses(database) == {"queued": 1}


def test_a_journal_of_one_who_died_with_nothing_in_hand_goes(
    database: Database, clock: FakeClock, tmp_path: Path
) -> None:
    """And its connections with it, though it died a moment ago: they would be waited for as long as they last. Not one
    that lives, nor a draft so young that its owner may not have locked it yet.
    """
    folder, buried = tmp_path / "journal", list[str]()
    alive, dead = Journal(folder), Journal(folder)
    die(dead)
    old, young = folder / "1-old.draft", folder / "2-young.draft"
    for path in (old, young):
        path.write_bytes(b'["B",1,1]\n')
    for path in (old, alive.path):
        os.utime(path, (1, 1))
    assert Recovery(database, clock, POLICY, folder, died=buried.append).run() == 0
    assert {path.name for path in folder.iterdir()} == {alive.path.name, young.name, "host-id"}
    assert buried == [dead.owner]
    alive.close()


def test_a_journal_has_its_name_once_it_is_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep that comes by while a process starts must not take its journal for a dead one's."""
    names: list[list[str]] = []
    monkeypatch.setattr(fcntl, "flock", lambda *_: names.append(sorted(path.suffix for path in tmp_path.iterdir())))
    Journal(tmp_path).close()
    assert names == [[".draft"]]


def test_a_journal_that_is_gone_means_a_dead_owner(database: Database, clock: FakeClock, tmp_path: Path) -> None:
    seeded = seed_campaign(database, clock.now(), 1)
    take(database, clock, seeded, f"{host_id(tmp_path)}:gone.journal")
    assert recovery(database, clock, tmp_path).run() == 1
    assert statuses(database) == {"queued": 1}


def test_many_rows_are_taken_over_in_sets(database: Database, clock: FakeClock, tmp_path: Path) -> None:
    seeded = seed_campaign(database, clock.now(), 600)
    journal = Journal(tmp_path)
    claim = take(database, clock, seeded, journal.owner, 600)
    for one in claim.claimed[:300]:
        journal.body_begins(one)
        journal.outcome(one, clock.now(), ACCEPTED)
    die(journal)
    recovery(database, clock, tmp_path).run()
    assert statuses(database) == {"sent": 300, "queued": 300}
    assert_counters_agree(database)


def test_a_mail_that_kills_its_worker_is_stopped(database: Database, clock: FakeClock, tmp_path: Path) -> None:
    seeded = seed_campaign(database, clock.now(), 1)
    for _ in range(MAX_CLAIMS):
        journal = Journal(tmp_path)
        take(database, clock, seeded, journal.owner)
        die(journal)
        recovery(database, clock, tmp_path).run()
    claim = Claimer(database, clock, "x:y", timedelta(seconds=30)).campaign(seeded.campaign_id, {"": 1})
    assert claim is not None
    assert claim.claimed == ()
    assert statuses(database) == {"failed": 1}


def test_a_line_cut_short_by_the_kill_is_passed_over(clock: FakeClock, tmp_path: Path) -> None:
    path = tmp_path / "1.journal"
    path.write_bytes(b'["B",1,2]\n["R",1,2,"2025-02-09T14:00:00+00:00","body",250,"","ok","",0.5]\n["B",3,2]\n["R",3,')
    entries = read_journal(path)
    assert entries[(1, 2)].exchange == Exchange(Stage.BODY, Reply(250, "", "ok"), "", 0.5)
    assert entries[(3, 2)].exchange is None


def test_what_was_claimed_after_the_look_is_taken_over_too(
    database: Database, clock: FakeClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An owner that dies between the look at the leases and the look at its journal: the journal counts for all."""
    seeded = seed_campaign(database, clock.now(), 2)
    journal = Journal(tmp_path)
    take(database, clock, seeded, journal.owner, 1)
    seize = Deceased.seize

    def goes_on_and_dies(path: Path) -> Deceased | None:
        (last,) = take(database, clock, seeded, journal.owner, 1).claimed
        journal.body_begins(last)
        journal.outcome(last, clock.now(), ACCEPTED)
        die(journal)
        return seize(path)

    monkeypatch.setattr(Deceased, "seize", goes_on_and_dies)
    recovery(database, clock, tmp_path).run()
    monkeypatch.undo()
    recovery(database, clock, tmp_path).run()
    assert statuses(database) == {"queued": 1, "sent": 1}
    assert_counters_agree(database)


def test_mails_beside_one_that_kills_its_worker_are_not_stopped_with_it(
    database: Database, clock: FakeClock, tmp_path: Path
) -> None:
    """Those that shared its claims are suspects too: they go one by one, so that only the guilty one ends."""
    seeded = seed_campaign(database, clock.now(), 6)
    guilty = seeded.deliveries[2]
    for _ in range(20):
        journal = Journal(tmp_path)
        claim = Claimer(database, clock, journal.owner, timedelta(seconds=30)).campaign(seeded.campaign_id, {"": 10})
        if claim is not None and guilty not in [one.id for one in claim.claimed]:
            for one in claim.claimed:
                journal.body_begins(one)
                journal.outcome(one, clock.now(), ACCEPTED)
        die(journal)
        recovery(database, clock, tmp_path).run()
    assert statuses(database) == {"failed": 1, "sent": 5}
    assert_counters_agree(database)


def test_one_owners_trouble_does_not_keep_the_others_from_recovery(
    database: Database, clock: FakeClock, tmp_path: Path
) -> None:
    seeded = seed_campaign(database, clock.now(), 2)
    bad, good = Journal(tmp_path), Journal(tmp_path)
    take(database, clock, seeded, bad.owner, 1)
    take(database, clock, seeded, good.owner, 1)
    die(bad)
    die(good)
    bad.path.unlink()
    bad.path.mkdir()
    with pytest.raises(IsADirectoryError):
        recovery(database, clock, tmp_path).run()
    assert statuses(database) == {"sending": 1, "queued": 1}


def test_a_line_that_a_full_disk_cut_short_spoils_only_itself(
    database: Database, clock: FakeClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeded = seed_campaign(database, clock.now(), 2)
    journal = Journal(tmp_path)
    first, second = take(database, clock, seeded, journal.owner).claimed
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, line: write(fd, line[:5]))
        with pytest.raises(OSError, match="No space left"):
            journal.outcome(first, clock.now(), ACCEPTED)
    journal.outcome(second, clock.now(), ACCEPTED)
    # the one that was cut short is there as well, written again in front of it
    assert set(read_journal(journal.path)) == {(one.id, one.lease_id) for one in (first, second)}
    journal.close()


def test_processes_that_start_together_agree_on_the_hosts_name(tmp_path: Path) -> None:
    """One that read an empty name would own a journal that nobody finds."""
    for attempt in range(100):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        with ThreadPoolExecutor(8) as threads:
            names = set(threads.map(host_id, [folder] * 8))
        assert len(names) == 1
        assert all(names)
        assert [one.name for one in folder.iterdir()] == ["host-id"]
