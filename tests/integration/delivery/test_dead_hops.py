"""Domains whose servers are gone: what is remembered of them costs nobody else anything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.integration.delivery.test_courier import Inbox, claimed, jobs
from tests.running import wait_until
from worker.delivery.courier import Courier
from worker.delivery.desk import Desk
from worker.delivery.gates import Breakers, InMemoryBreakers, InMemoryLeases
from worker.delivery.journal import Journal
from worker.delivery.lane import Job
from worker.delivery.transports.base import RELAY, Connection, HopUnavailable, NextHop
from worker.domain.breaker import Pauses
from worker.domain.clock import SystemClock
from worker.domain.delivery import Reason

_DOMAINS = 40


class Gone:
    """Each domain has a server of its own, and nobody listens there."""

    name = "mx"
    relay = None

    def __init__(self) -> None:
        self.knocked: list[str] = []

    def known(self, domain: str) -> NextHop:
        return NextHop(domain, "listed" if domain.startswith("listed") else "", hosts=((f"mx.{domain}",),))

    async def find(self, domain: str) -> NextHop:
        return self.known(domain)

    async def open(self, hop: NextHop = RELAY) -> Connection:
        self.knocked.append(hop.name)
        raise HopUnavailable("nobody there")


@pytest.fixture
def gone() -> Gone:
    return Gone()


@pytest.fixture
def one(gone: Gone, inbox: Inbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Courier]:
    # still shut when it is asked again, however busy the machine is
    monkeypatch.setattr("worker.delivery.hop.FIRST_PAUSE_SECONDS", 60.0)
    # nobody stays there for ten seconds, in case more comes
    monkeypatch.setattr("worker.delivery.carrier.IDLE_SECONDS", 0.1)
    clock, journal = SystemClock(), Journal(tmp_path)
    breakers = Breakers(InMemoryBreakers(clock), clock, lambda _gate, _reply: Pauses(60, 600, full=3))
    made = Courier(gone, journal, clock, 4, inbox.take, breakers, InMemoryLeases(clock))
    yield made
    made.stop(1.0)
    journal.close()


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


def to(number: int, domain: str, destination: str = "") -> Job:
    return jobs(replace(claimed(number), address=f"r@{domain}", destination=destination))[0]


def test_nobody_walks_through_them_and_their_doors_stay_closed(
    one: Courier, gone: Gone, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    one.submit([to(number, f"d{number}.example") for number in range(_DOMAINS)])
    inbox.wait_for(_DOMAINS)
    wait_until(lambda: len(one._doors) == _DOMAINS, 10)
    assert one._desks == {}
    walked: list[Desk] = []
    monkeypatch.setattr(Desk, "reap", walked.append)
    beats = one._pulse._before
    wait_until(lambda: one._pulse._before >= beats + 0.5, 10)
    assert (walked, one._desks_of(""), one.load("")) == ([], [], (0, None))
    # its next mail finds the door as it was: it waits elsewhere, and nobody knocks
    knocked = list(gone.knocked)
    one.submit([to(_DOMAINS, "d0.example")])
    hold = inbox.wait_for(_DOMAINS + 1)[-1].hold
    assert hold is not None
    assert (hold.reason, hold.why) == (Reason.CONNECTION_FAILED, "d0.example: nobody there")
    assert gone.knocked == knocked


def test_a_listed_destination_stays_shut(one: Courier, inbox: Inbox) -> None:
    """Its rows wait in the queue, where nobody claims them, also when nothing of it is in hand."""
    one.submit([to(1, "listed.example", "listed")])
    inbox.wait_for(1)
    wait_until(lambda: one._desks == {}, 10)
    assert one.shut("listed") > 0
    assert one.load("listed") == (0, 0)
    assert one.shut("") == 0


def test_a_listed_destination_is_tried_again_with_one_row(
    one: Courier, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server may swallow packets: a thousand would be claimed, held, and counted as tried."""
    one.submit([to(1, "listed.example", "listed")])
    inbox.wait_for(1)
    wait_until(lambda: one._desks == {}, 10)
    monkeypatch.setattr("worker.delivery.hop.Hop.wait", lambda _door: 0.0)
    assert one.shut("listed") == 0
    assert one.load("listed") == (0, 1)


def test_a_desk_stays_while_a_breaker_is_asked(
    one: Courier, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answer brings back jobs, that somebody must look after."""
    asked: list[Desk] = []
    monkeypatch.setattr("worker.delivery.gatekeeper.Gatekeeper.must_ask", lambda *_: "mx:d.example")
    desk_of = one._desk

    def silent(hop: NextHop) -> Desk:
        desk = desk_of(hop)
        desk._ask = lambda desk, _gate, _jobs: asked.append(desk)
        return desk

    monkeypatch.setattr(one, "_desk", silent)
    job = to(1, "d.example")
    one.submit([job])
    wait_until(lambda: bool(asked), 10)
    beats = one._pulse._before
    wait_until(lambda: one._pulse._before >= beats + 0.5, 10)
    assert list(one._desks.values()) == asked
    one._loop.call_soon_threadsafe(asked[0].admitted, [job], 0)
    inbox.wait_for(1)
    wait_until(lambda: one._desks == {}, 10)
