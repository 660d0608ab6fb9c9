"""The journal of a process that is never idle: it is made small while conversations are open, and loses nothing."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.integration.delivery.test_courier import claimed
from tests.ledger import seed_campaign, statuses
from tests.running import wait_until
from tests.smtpd import Rule, SmtpServer
from worker.delivery import journal as journal_module
from worker.delivery.journal import Deceased, Journal, read_journal
from worker.delivery.transports.base import Exchange
from worker.domain.replies import Reply, Stage
from worker.station import Station
from worker.storage.database import Database

ACCEPTED = Exchange(Stage.BODY, Reply(250, "2.0.0", "taken, [of 3], \"well\""), "", 0.5)


def write(journal: Journal, number: int, lease: int) -> None:
    one = replace(claimed(number), lease_id=lease)
    journal.body_begins(one)
    journal.outcome(one, datetime.now(UTC), ACCEPTED)


def test_what_open_claims_say_stays(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for number in range(200):
        write(journal, number, lease=number // 50)
    journal.body_begins(replace(claimed(999), lease_id=33))
    before, owner = journal.path.stat().st_size, journal.owner
    journal.compact({3, 33})
    write(journal, 1000, lease=4)
    found = read_journal(journal.path)
    assert sorted(found) == sorted([(number, 3) for number in range(150, 200)] + [(999, 33), (1000, 4)])
    assert found[(150, 3)].exchange == ACCEPTED
    assert found[(999, 33)].exchange is None
    assert journal.path.stat().st_size < before / 3
    assert journal.owner == owner
    assert [path.name for path in tmp_path.glob("*.*")] == [journal.path.name]
    assert Deceased.seize(journal.path) is None
    journal.close()


def test_a_line_that_was_cut_short_does_not_spoil_what_follows(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    write(journal, 1, lease=1)
    os.write(journal._fd, b'["B",2,')
    journal._torn = True
    journal.compact({1})
    write(journal, 3, lease=1)
    assert sorted(read_journal(journal.path)) == [(1, 1), (3, 1)]
    journal.close()


def test_nobody_takes_over_one_that_is_replaced_at_that_moment(tmp_path: Path) -> None:
    """Whoever looks at it sees it locked, and with every line that counts."""
    journal = Journal(tmp_path)
    write(journal, 1, lease=1)
    done = threading.Event()

    def replace_it() -> None:
        for number in range(3000):
            write(journal, number + 2, lease=2)
            journal.compact({1})
        done.set()

    writer = threading.Thread(target=replace_it)
    writer.start()
    seized, unseen = 0, 0
    while not done.is_set():
        seized += Deceased.seize(journal.path) is not None
        unseen += (1, 1) not in read_journal(journal.path)
    writer.join()
    assert (seized, unseen) == (0, 0)
    journal.close()


@pytest.mark.parametrize("backend", ["sqlite"])
def test_it_is_made_small_while_a_server_takes_its_time(
    station: Callable[..., Station], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SmtpServer([Rule("dot", delay=4.0, nth=1)]) as server:
        one = station(server.url)
        seeded = seed_campaign(database, one.system.clock.now(), 200)
        one.bulk.turn(seeded.campaign_id)
        wait_until(lambda: statuses(database)["sent"] == 199, 10)
        monkeypatch.setattr(journal_module, "_LARGE_BYTES", 5_000)
        large = [one.press.must_drain]
        one.press.drain(0.0)
        assert [*large, one.press.must_drain] == [True, False]
        assert statuses(database)["sending"] == 1
        wait_until(lambda: statuses(database) == {"sent": 200}, 10)
