"""The courier against a real SMTP server: leases, journals, silent servers, a hop that is down."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.servers import free_port
from tests.smtpd import Rule, SmtpServer
from worker.delivery.courier import Courier
from worker.delivery.gates import Breakers, InMemoryBreakers, InMemoryLeases
from worker.delivery.journal import Journal, read_journal
from worker.delivery.lane import Job
from worker.delivery.parcels import Claimed, Lease, Result
from worker.delivery.transports.smtp import smtp_transport
from worker.domain.breaker import Pauses
from worker.domain.clock import SystemClock
from worker.domain.delivery import Kind
from worker.domain.errors import PermanentError
from worker.domain.message import Envelope, Message
from worker.domain.replies import Outcome, Stage


class PlainMail:
    """A mail without a template."""

    def compose(self, claimed: Claimed) -> tuple[Envelope, Message]:
        if claimed.name == "broken":
            raise PermanentError("cannot be made")
        if claimed.name == "bug":
            raise ZeroDivisionError("a bug of ours")
        if claimed.name == "slow":
            time.sleep(0.4)
        message = f"Message-ID: <{claimed.id}@daily.example>\r\nSubject: hi\r\n\r\nbody\r\n".encode()
        return Envelope("b@daily.example", claimed.address), Message(message)


def claimed(number: int, name: str = "") -> Claimed:
    return Claimed(
        id=number, lease_id=1, publication="daily", kind=Kind.NEW_POST, campaign_id=1, slice_id=1, subscription_id=1,
        generation=0, lists=("posts",), address=f"r{number}@example.com", name=name, locale="",
        created_at=datetime.now(UTC), attempts=0, first_attempt_at=None, expires_at=None,
    )  # fmt: skip


class Inbox:
    """Results as they are handed out."""

    def __init__(self) -> None:
        self.results: list[Result] = []
        self._changed = threading.Condition()

    def take(self, result: Result) -> None:
        with self._changed:
            self.results.append(result)
            self._changed.notify_all()

    def wait_for(self, n: int, seconds: float = 20) -> list[Result]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.results) >= n, seconds), self.results
            return list(self.results)


@contextmanager
def courier(
    port: int, inbox: Inbox, folder: Path, connections: int = 3, timeout: float = 5.0, messages: int = 100
) -> Iterator[tuple[Courier, Journal]]:
    transport = smtp_transport(
        f"smtp://127.0.0.1:{port}", helo="test", connect_timeout=timeout, timeout=timeout,
        messages_per_connection=messages, verify=True, ca_file="",
    )  # fmt: skip
    journal = Journal(folder)
    clock = SystemClock()
    breakers = Breakers(InMemoryBreakers(clock), clock, lambda _gate, _reply: Pauses(60, 600, full=3))
    one = Courier(transport, journal, clock, connections, inbox.take, breakers, InMemoryLeases(clock))
    try:
        yield one, journal
    finally:
        one.stop(1.0)
        journal.close()


def jobs(
    *rows: Claimed, start_within: float = 30.0, valid: float = 30.0, in_the_ledger: float = 30.0
) -> list[Job]:  # fmt: skip
    clock = SystemClock()
    now = clock.ticks()
    lease = Lease(1, now + start_within, now + valid, clock.now() + timedelta(seconds=in_the_ledger), len(rows))
    return [Job(row, lease, PlainMail()) for row in rows]


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


def test_sends_all_over_no_more_connections_than_allowed(inbox: Inbox, tmp_path: Path) -> None:
    with SmtpServer() as server, courier(server.port, inbox, tmp_path) as (one, journal):
        one.submit(jobs(*map(claimed, range(1, 51))))
        results = inbox.wait_for(50)
        entries = read_journal(journal.path)
    assert {one.exchange.judgement.outcome for one in results if one.exchange} == {Outcome.ACCEPTED}
    assert len({message.connection for message in server.messages}) <= 3
    assert sorted(message.rcpt for message in server.messages) == sorted(f"r{n}@example.com" for n in range(1, 51))
    assert {key for key, entry in entries.items() if entry.exchange} == {(n, 1) for n in range(1, 51)}


@pytest.mark.parametrize(
    "clocks",
    [{"start_within": -0.1}, {"valid": -0.1}, {"in_the_ledger": -0.1}],
    ids=["too late to start", "lease over", "the clock was set forward"],
)
def test_a_job_past_its_time_is_given_back_unsent(
    inbox: Inbox, tmp_path: Path, clocks: dict[str, float]
) -> None:
    with SmtpServer() as server, courier(server.port, inbox, tmp_path) as (one, _):
        one.submit(jobs(claimed(1), **clocks))
        (result,) = inbox.wait_for(1)
    assert result.exchange is None
    assert server.mails == 0


@pytest.mark.parametrize("clocks", [{"valid": 0.3}, {"in_the_ledger": 0.3}], ids=["ticks", "the wall clock"])
def test_a_lease_that_ends_before_the_body_begins_sends_none(
    inbox: Inbox, tmp_path: Path, clocks: dict[str, float]
) -> None:
    """This process was stopped between MAIL and the server's 354, say: a sweep has found no body, and given it back."""
    with (
        SmtpServer([Rule("data", delay=0.6, times=1)]) as server,
        courier(server.port, inbox, tmp_path, connections=1) as (one, journal),
    ):
        one.submit(jobs(claimed(1), **clocks))
        (first,) = inbox.wait_for(1)
        one.submit(jobs(claimed(2)))
        inbox.wait_for(2)
        entries = read_journal(journal.path)
    # no attempt: neither the server nor the reader is to blame
    assert first.exchange is None
    assert set(entries) == {(2, 1)}
    assert [message.rcpt for message in server.messages] == ["r2@example.com"]


def test_a_lease_that_ends_when_the_body_is_written_down_sends_none(
    inbox: Inbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who reads the journal just before that line finds none; who does later must not take it for unknown for ever."""
    begins = Journal.body_begins
    (first_job,) = jobs(claimed(1))

    def stopped_then(self: Journal, one: Claimed) -> None:
        begins(self, one)
        if one.id == 1:
            first_job.lease.valid_until = 0.0

    monkeypatch.setattr(Journal, "body_begins", stopped_then)
    with SmtpServer() as server, courier(server.port, inbox, tmp_path, connections=1) as (one, journal):
        one.submit([first_job])
        (first,) = inbox.wait_for(1)
        one.submit(jobs(claimed(2)))
        inbox.wait_for(2)
        entries = read_journal(journal.path)
    assert first.exchange is not None
    assert (first.exchange.stage, first.exchange.judgement.outcome) == (Stage.DATA, Outcome.UNREACHABLE)
    assert entries[(1, 1)].exchange == first.exchange
    assert [message.rcpt for message in server.messages] == ["r2@example.com"]


def test_one_offered_ahead_whose_lease_ends_is_given_back(
    inbox: Inbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its MAIL and DATA are out, behind the body before it; what comes after it goes over another connection."""
    begins = Journal.body_begins
    first, second, third = [jobs(claimed(number))[0] for number in (1, 2, 3)]

    def stopped_then(self: Journal, one: Claimed) -> None:
        begins(self, one)
        if one.id == 1:
            second.lease.valid_until = 0.0

    with SmtpServer() as server, courier(server.port, inbox, tmp_path, connections=1) as (one, journal):
        # a quick one first: then the next is offered ahead
        one.submit(jobs(claimed(9)))
        inbox.wait_for(1)
        monkeypatch.setattr(Journal, "body_begins", stopped_then)
        monkeypatch.setattr(Job, "too_late", lambda *_: False)
        one.submit([first, second])
        results = {result.claimed.id: result.exchange for result in inbox.wait_for(3)}
        monkeypatch.undo()
        one.submit([third])
        inbox.wait_for(4)
        entries = read_journal(journal.path)
    assert results[2] is None
    assert (2, 1) not in entries
    assert [message.rcpt for message in server.messages] == [f"r{number}@example.com" for number in (9, 1, 3)]


def test_a_silent_server_holds_one_row_for_each_connection_and_the_rest_go_back(inbox: Inbox, tmp_path: Path) -> None:
    with (
        SmtpServer([Rule("mail", silent=True)]) as server,
        courier(server.port, inbox, tmp_path, connections=2, timeout=2.0) as (one, _),
    ):
        one.submit(jobs(*map(claimed, range(1, 7)), start_within=0.3))
        results = inbox.wait_for(6)
    back = [result for result in results if result.exchange is None]
    tried = [result.exchange for result in results if result.exchange is not None]
    assert len(back) == 4
    assert {exchange.judgement.outcome for exchange in tried} == {Outcome.UNREACHABLE}
    assert all("timeout" in exchange.detail for exchange in tried)


def test_a_cut_after_the_final_dot_is_unknown_and_journalled(inbox: Inbox, tmp_path: Path) -> None:
    with (
        SmtpServer([Rule("dot", cut=True, accept=True, nth=1)]) as server,
        courier(server.port, inbox, tmp_path) as (one, journal),
    ):
        one.submit(jobs(claimed(1)))
        (result,) = inbox.wait_for(1)
        entry = read_journal(journal.path)[(1, 1)]
    assert result.exchange is not None
    assert result.exchange.judgement.outcome is Outcome.UNKNOWN
    assert entry.exchange == result.exchange
    assert len(server.messages) == 1


def test_a_hop_that_is_down_is_tried_by_few_and_left_alone(
    inbox: Inbox, tmp_path: Path
) -> None:
    with courier(free_port(), inbox, tmp_path) as (one, _):
        one.submit(jobs(*map(claimed, range(1, 31))))
        results = inbox.wait_for(30)
        assert one.door is not None
        assert one.door.wait() > 0
        assert "refused" in one.door.why
    tried = [result.exchange for result in results if result.exchange is not None]
    assert 1 <= len(tried) <= 3
    assert {(exchange.stage, exchange.judgement.outcome) for exchange in tried} == {
        (Stage.CONNECT, Outcome.UNREACHABLE)
    }


def test_a_refusal_of_more_connections_is_no_outage(inbox: Inbox, tmp_path: Path) -> None:
    # the first connection is welcome and slow, the others are turned away at the door
    with SmtpServer() as server, courier(server.port, inbox, tmp_path) as (one, _):
        one.submit(jobs(claimed(1)))
        inbox.wait_for(1)
        server.add(Rule("connect", reply="421 4.7.0 too many connections"))
        one.submit(jobs(*map(claimed, range(2, 12))))
        results = inbox.wait_for(11)
    outcomes = [result.exchange.judgement.outcome for result in results if result.exchange is not None]
    assert set(outcomes) == {Outcome.ACCEPTED}
    assert len(outcomes) >= 9


@pytest.mark.parametrize(("name", "fault"), [("broken", "cannot be made"), ("bug", "a bug of ours")])
def test_a_mail_that_cannot_be_made_does_not_cost_the_connection(
    inbox: Inbox, tmp_path: Path, name: str, fault: str
) -> None:
    with SmtpServer() as server, courier(server.port, inbox, tmp_path, connections=1) as (one, _):
        one.submit(jobs(claimed(1, name), claimed(2)))
        first, second = inbox.wait_for(2)
    assert (first.fault, first.exchange) == (fault, None)
    assert second.exchange is not None
    assert [message.rcpt for message in server.messages] == ["r2@example.com"]


def test_stopping_finishes_what_is_open_and_gives_back_the_rest(inbox: Inbox, tmp_path: Path) -> None:
    with SmtpServer([Rule("dot", delay=0.4)]) as server:
        with courier(server.port, inbox, tmp_path, connections=1) as (one, _):
            one.submit(jobs(*map(claimed, range(1, 5))))
            server.wait_for(lambda one: one.open_conversations >= 1)
        results = inbox.wait_for(4)
    assert [result.exchange is not None for result in sorted(results, key=lambda r: r.claimed.id)].count(True) >= 1
    assert len(server.messages) == sum(result.exchange is not None for result in results)


def test_a_hop_that_is_full_takes_a_new_connection_for_one_that_has_ended(inbox: Inbox, tmp_path: Path) -> None:
    """Each connection ends at its message limit; one refusal must not keep it from being replaced for half a minute."""
    with SmtpServer() as server, courier(server.port, inbox, tmp_path, messages=5) as (one, _):
        one.submit(jobs(claimed(1)))
        inbox.wait_for(1)
        server.add(Rule("connect", reply="421 4.7.0 too many connections", times=1))
        one.submit(jobs(*map(claimed, range(2, 22))))
        results = inbox.wait_for(21)
    assert [result for result in results if result.exchange is None] == []
    assert len(server.messages) == 21


def test_a_disk_that_is_full_loses_no_job(inbox: Inbox, tmp_path: Path) -> None:
    """The journal takes no line: nothing is sent without it, and each job comes back nevertheless."""
    with SmtpServer() as server, courier(server.port, inbox, tmp_path) as (one, journal):
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, journal._fd)
        os.close(full)
        one.submit(jobs(*map(claimed, range(1, 7))))
        results = inbox.wait_for(6)
        server.wait_for(lambda server: server.open_connections == 0)
        assert one.door is not None
        assert one.door.connections == 0
    assert {result.claimed.id for result in results} == set(range(1, 7))
    assert server.messages == []


def test_a_mail_that_took_too_long_to_make_is_not_begun(inbox: Inbox, tmp_path: Path) -> None:
    with SmtpServer() as server, courier(server.port, inbox, tmp_path) as (one, _):
        one.submit(jobs(claimed(1, "slow"), start_within=0.3))
        (result,) = inbox.wait_for(1)
    assert result.exchange is None
    assert server.mails == 0
