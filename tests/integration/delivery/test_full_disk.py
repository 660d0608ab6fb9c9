"""A disk that takes no line of the journal: no body begins, nothing is counted, and sending goes on by itself."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from tests.integration.delivery.test_courier import Inbox, claimed, courier, jobs
from tests.ledger import assert_counters_agree, seed_campaign, statuses
from tests.running import wait_until
from tests.smtpd import SmtpServer
from worker.delivery import books
from worker.delivery.journal import Journal, read_journal
from worker.domain.replies import Outcome
from worker.station import Station
from worker.storage.database import Database
from worker.storage.models import AttemptRow, DeliveryRow


@contextmanager
def full(journal: Journal) -> Iterator[None]:
    """No write of it goes through."""
    kept = os.dup(journal._fd)
    fills_up(journal)
    try:
        yield
    finally:
        os.dup2(kept, journal._fd)
        os.close(kept)


def fills_up(journal: Journal) -> None:
    device = os.open("/dev/full", os.O_WRONLY | os.O_APPEND)
    os.dup2(device, journal._fd)
    os.close(device)


@contextmanager
def room_for(journal: Journal, octets: int) -> Iterator[None]:
    """So many more: the kernel cuts the write that goes beyond."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (journal.path.stat().st_size + octets, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


def test_no_body_begins_and_the_rest_does_not_even_knock(inbox: Inbox, tmp_path: Path) -> None:
    """A server that hears DATA fifty times, and is cut each time, thinks ill of its client."""
    with SmtpServer() as server, courier(server.port, inbox, tmp_path) as (one, journal):
        with full(journal):
            one.submit(jobs(*map(claimed, range(1, 51))))
            results = inbox.wait_for(50)
            assert one.doubtful
            assert one.shut("") > 0
            assert one.shut("gmail") > 0
            server.wait_for(lambda server: server.open_connections == 0)
        # neither an attempt nor a wait is counted: they are as they were
        assert {(result.exchange, result.hold, result.fault) for result in results} == {(None, None, "")}
        assert (server.messages, server.mails <= 3) == ([], True)
        assert read_journal(journal.path) == {}


def test_it_goes_on_by_itself(inbox: Inbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books, "SHUT_SECONDS", 0.2)
    with SmtpServer() as server, courier(server.port, inbox, tmp_path) as (one, journal):
        with full(journal):
            one.submit(jobs(claimed(1)))
            inbox.wait_for(1)
        wait_until(lambda: one.shut("") == 0, 5)
        doubtful = [one.doubtful]
        one.submit(jobs(claimed(2)))
        inbox.wait_for(2)
        # one by one until one has gone
        assert [*doubtful, one.doubtful] == [True, False]
        assert set(read_journal(journal.path)) == {(2, 1)}
    assert [message.rcpt for message in server.messages] == ["r2@example.com"]


def test_one_offered_ahead_is_given_back_and_costs_the_connection(
    inbox: Inbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its MAIL and DATA are out; the body before it is, too, and what became of that is told."""
    begins = Journal.body_begins

    def fills_up_behind(self: Journal, one: object) -> None:
        begins(self, one)  # type: ignore[arg-type]
        fills_up(self)

    with SmtpServer() as server, courier(server.port, inbox, tmp_path, connections=1) as (one, _):
        # a quick one first: then the next is offered ahead
        one.submit(jobs(claimed(9)))
        inbox.wait_for(1)
        monkeypatch.setattr(Journal, "body_begins", fills_up_behind)
        one.submit(jobs(claimed(1), claimed(2)))
        results = {result.claimed.id: result.exchange for result in inbox.wait_for(3)}
        server.wait_for(lambda server: server.open_connections == 0)
    assert results[2] is None
    assert [message.rcpt for message in server.messages] == ["r9@example.com", "r1@example.com"]


def test_what_became_of_a_body_reaches_the_ledger_and_the_journal_when_there_is_room(
    inbox: Inbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It fills up between a body's line and its outcome's."""
    begins = Journal.body_begins
    with SmtpServer() as server, courier(server.port, inbox, tmp_path, connections=1) as (one, journal):
        kept = os.dup(journal._fd)

        def fills_up_behind(self: Journal, first: object) -> None:
            begins(self, first)  # type: ignore[arg-type]
            fills_up(self)

        monkeypatch.setattr(Journal, "body_begins", fills_up_behind)
        one.submit(jobs(claimed(1)))
        (result,) = inbox.wait_for(1)
        assert result.exchange is not None
        assert result.exchange.judgement.outcome is Outcome.ACCEPTED
        assert read_journal(journal.path)[(1, 1)].exchange is None
        monkeypatch.undo()
        os.dup2(kept, journal._fd)
        os.close(kept)
        one.submit(jobs(claimed(2)))
        inbox.wait_for(2)
        assert read_journal(journal.path)[(1, 1)].exchange == result.exchange
    assert len(server.messages) == 2


_LINE = len('["B",22,1]\n')


@pytest.mark.parametrize("octets", range(_LINE))
def test_half_a_line_is_none_and_does_not_spoil_the_next(tmp_path: Path, octets: int) -> None:
    """Also one that lacks nothing but its end: its body was not begun, so it must not count as unknown."""
    journal = Journal(tmp_path)
    journal.body_begins(claimed(11))
    with room_for(journal, octets), pytest.raises(OSError, match=r"No space left|File too large"):
        journal.body_begins(claimed(22))
    assert journal.path.stat().st_size == _LINE + octets
    assert set(read_journal(journal.path)) == {(11, 1)}
    journal.body_begins(claimed(33))
    assert set(read_journal(journal.path)) == {(11, 1), (33, 1)}
    journal.compact({1})
    journal.body_begins(replace(claimed(44), lease_id=2))
    assert set(read_journal(journal.path)) == {(11, 1), (33, 1), (44, 2)}
    journal.close()


@pytest.mark.parametrize("policy", ["hold", "retry"])
def test_a_campaign_stays_queued_and_is_sent_when_there_is_room(
    station: Callable[..., Station], database: Database, monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    """Whatever is to be done with unknown outcomes: there are none."""
    with SmtpServer() as server:
        one = station(server.url, PRESSRUN_UNKNOWN_BULK=policy)
        seeded = seed_campaign(database, one.system.clock.now(), 40)
        with full(one.press._journal):
            one.bulk.turn(seeded.campaign_id)
            one.press.drain(20)
            # the next turn claims nothing, and ends until the journal is to be tried again
            turned = one.bulk.turn(seeded.campaign_id)
            assert turned.handed_over == 0 < turned.rest <= books.SHUT_SECONDS
            assert (statuses(database), server.messages) == ({"queued": 40}, [])
        monkeypatch.setattr(one.system.clock, "ticks", ahead(one.system.clock.ticks, books.SHUT_SECONDS))
        assert one.press.room("") == 1
        one.bulk.turn(seeded.campaign_id)
        one.press.drain(20)
        assert len({message.rcpt for message in server.messages}) == len(server.messages) == 40
    assert statuses(database) == {"sent": 40}
    with database.read() as connection:
        assert connection.execute(select(AttemptRow)).all() == []
        assert set(connection.execute(select(DeliveryRow.attempts)).scalars()) == {1}
    assert_counters_agree(database)


def ahead(ticks: Callable[[], float], seconds: float) -> Callable[[], float]:
    return lambda: ticks() + seconds
