"""Promise 4: SIGKILL of any process at any moment loses no mail, and doubles at most the open conversations."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable
from email import message_from_bytes

import psutil
import pytest

from tests.ledger import assert_counters_agree
from tests.running import Running, post_event, wait_until
from tests.smtpd import Options, Received, Rule, SmtpServer

READERS = 5000


def test_all_bulk_processes_killed_in_the_middle(system: Callable[..., Running]) -> None:
    """Every mail arrives; at most as many twice as conversations were open; each double is the same message."""
    with SmtpServer(options=Options(latency=0.002)) as server:
        running = system(server.url, PRESSRUN_RETRY_BASE_SECONDS="1", PRESSRUN_SMTP_CONNECTIONS="10")
        running.import_readers(READERS)
        running.emit(post_event())
        server.wait_for(lambda one: len(one.messages) > READERS // 4, 90)
        running.kill("bulk")
        assert len(server.messages) < READERS, "the kill must come in the middle"
        # what the dead had written is still being read
        server.wait_for(lambda one: one.open_connections == 0, 30)
        open_at_kill = len(server.interrupted)
        running.start("bulk")
        running.wait_sent(READERS, 120)
        messages = list(server.messages)
    doubles = doubled(messages)
    assert len({one.rcpt for one in messages}) == READERS
    assert len(doubles) <= open_at_kill <= 2 * 10
    assert_doubles_are_the_same_message(messages, doubles)
    assert_counters_agree(running.database)


@pytest.mark.parametrize("backend", ["sqlite"])
def test_one_child_killed(system: Callable[..., Running]) -> None:
    """The pool starts another; the journal of the dead one is read at the next sweep."""
    with SmtpServer(options=Options(latency=0.002)) as server:
        running = system(server.url, PRESSRUN_RETRY_BASE_SECONDS="1", PRESSRUN_SMTP_CONNECTIONS="5")
        running.import_readers(1500)
        running.emit(post_event())
        server.wait_for(lambda one: len(one.messages) > 300, 60)
        sending = [one for one in running.family("bulk")[1:] if one.net_connections()]
        sending[0].kill()
        running.wait_sent(1500, 90)
        messages = list(server.messages)
    assert len({one.rcpt for one in messages}) == 1500
    assert len(doubled(messages)) <= 5
    assert_doubles_are_the_same_message(messages, doubled(messages))
    assert_counters_agree(running.database)


@pytest.mark.parametrize("backend", ["sqlite"])
def test_what_was_open_at_a_kill_and_was_not_taken_is_sent(system: Callable[..., Running]) -> None:
    """Its body was out, the answer was not there, and the server has kept nothing of it."""
    with SmtpServer([Rule("dot", silent=True, times=4)]) as server:
        running = system(server.url, PRESSRUN_RETRY_BASE_SECONDS="1", PRESSRUN_SMTP_CONNECTIONS="4")
        running.import_readers(40)
        running.emit(post_event())
        wait_until(lambda: server.open_conversations >= 4, 60, running.describe)
        running.kill("bulk")
        running.start("bulk")
        running.wait_sent(40, 90)
        assert len({one.rcpt for one in server.messages}) == 40
    assert_counters_agree(running.database)


# On SQLite a process that is stopped inside a write holds the whole database until it goes on: docs/promises.md.
@pytest.mark.parametrize("backend", ["postgresql"])
def test_a_process_stopped_past_its_lease(system: Callable[..., Running]) -> None:
    """Others take over; when it goes on it starts nothing of what it held, and finishes at most what was open."""
    with SmtpServer(options=Options(latency=0.002)) as server:
        running = system(
            server.url, PRESSRUN_LEASE_SECONDS="5", PRESSRUN_SMTP_CONNECTIONS="5", PRESSRUN_RETRY_BASE_SECONDS="1"
        )
        running.import_readers(1500)
        running.emit(post_event())
        server.wait_for(lambda one: len(one.messages) > 200, 60)
        stopped: psutil.Process = next(one for one in running.family("bulk")[1:] if one.net_connections())
        stopped.send_signal(signal.SIGSTOP)
        wait_until(lambda: running.counts()["sending"] == 0 and running.counts()["sent"] > 200, 60, running.describe)
        stopped.send_signal(signal.SIGCONT)
        running.wait_sent(1500, 90)
        messages = list(server.messages)
    assert len({one.rcpt for one in messages}) == 1500
    assert len(doubled(messages)) <= 5
    assert_doubles_are_the_same_message(messages, doubled(messages))
    assert_counters_agree(running.database)


@pytest.mark.parametrize("backend", ["postgresql"])
def test_a_process_stopped_before_the_body_past_its_lease(system: Callable[..., Running]) -> None:
    """The server asks for the bodies, nobody is there, others send them: when it goes on, it has none to send."""
    with SmtpServer([Rule("data", delay=2.0, times=10)]) as server:
        running = system(
            server.url, PRESSRUN_LEASE_SECONDS="5", PRESSRUN_SMTP_CONNECTIONS="5", PRESSRUN_RETRY_BASE_SECONDS="1"
        )
        running.import_readers(60)
        running.emit(post_event())
        wait_until(lambda: server.open_conversations >= 5, 60, running.describe)
        held = {one.pid: open_to(one, server) for one in running.family("bulk")[1:]}
        stopped = psutil.Process(max(held, key=lambda pid: held[pid]))
        stopped.send_signal(signal.SIGSTOP)
        assert held[stopped.pid] > 0
        assert not server.messages, "it must stand still before the first body"
        running.wait_sent(60, 90)
        stopped.send_signal(signal.SIGCONT)
        # it reads that the bodies were asked for, and hangs up
        server.wait_for(lambda one: one.open_conversations == 0, 30)
        assert len(server.interrupted) >= held[stopped.pid]
        messages = list(server.messages)
    assert doubled(messages) == set()
    assert len({one.rcpt for one in messages}) == 60
    assert_counters_agree(running.database)


def open_to(process: psutil.Process, server: SmtpServer) -> int:
    """Connections to the server; it has others, to Redis and to the database."""
    return sum(bool(one.raddr) and one.raddr.port == server.port for one in process.net_connections())


def doubled(messages: list[Received]) -> set[str]:
    return {rcpt for rcpt, n in Counter(one.rcpt for one in messages).items() if n > 1}


def assert_doubles_are_the_same_message(messages: list[Received], doubles: set[str]) -> None:
    """Same Message-ID and same Date; and nobody else's."""
    ids = Counter(one.message_id for one in {(m.rcpt, m.message_id): m for m in messages}.values())
    assert set(ids.values()) == {1}
    for rcpt in doubles:
        dates = {message_from_bytes(one.data)["Date"] for one in messages if one.rcpt == rcpt}
        assert len(dates) == 1
