"""What was found whole is remembered, and no longer than it is."""

from __future__ import annotations

import pytest

from tests.unit.delivery.test_backlog import job
from worker.delivery.gatekeeper import Gatekeeper
from worker.delivery.gates import Breakers, InMemoryBreakers
from worker.delivery.lane import Job
from worker.delivery.transports.base import RELAY, Exchange, NextHop
from worker.domain.breaker import Pauses
from worker.domain.clock import FakeClock
from worker.domain.replies import Reply, Stage


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(clock: FakeClock) -> InMemoryBreakers:
    return InMemoryBreakers(clock)


def breakers(store: InMemoryBreakers, clock: FakeClock) -> Breakers:
    return Breakers(store, clock, lambda *_: Pauses(60, 600))


def to(destination: str, address: str = "ana@a.example") -> Job:
    one = job()
    one.claimed.destination, one.claimed.address = destination, address
    return one


def test_one_that_opens_after_it_was_found_whole_is_shut(store: InMemoryBreakers, clock: FakeClock) -> None:
    """Here, or in another process; and whole again, it is open to all."""
    here, there = breakers(store, clock), breakers(store, clock)
    gates = Gatekeeper(here, clock)
    here.trip("destination:other", None, "421")
    one, two = to("one"), to("two")
    assert [gates.shut(row, RELAY) for row in (one, two, one, two)] == [0, 0, 0, 0]
    here.trip("destination:one", None, "421")
    assert [gates.shut(row, RELAY) for row in (one, two)] == [60, 0]
    there.trip("destination:two", None, "421")
    there.sync()
    clock.advance(seconds=2)
    here.sync()
    assert all(gates.shut(row, RELAY) > 50 for row in (one, two))
    clock.advance(seconds=61)
    assert here.admit("destination:one", 1).messages == 1
    here.land("destination:one", 1, 0)
    assert gates.shut(one, RELAY) == 0
    here.trip(RELAY.gate, None, "421")
    assert gates.shut(to("three"), RELAY) == 60


def test_the_same_servers_under_two_gates_are_two_places(store: InMemoryBreakers, clock: FakeClock) -> None:
    """A domain that was taken out of its group: its rows are of the group, its hop is not."""
    here = breakers(store, clock)
    gates = Gatekeeper(here, clock)
    grouped, alone = NextHop("mx.example", "google", (("mx.example",),)), NextHop("mx.example", "", (("mx.example",),))
    here.trip("mx:mx.example", None, "421")
    row = to("google")
    assert [gates.shut(row, hop) for hop in (alone, grouped, alone)] == [60, 0, 60]


@pytest.mark.parametrize(("stage", "left_alone"), [(Stage.RCPT, "destination:one"), (Stage.MAIL, "relay")])
def test_one_that_throttles_keeps_nothing_of_the_other(
    store: InMemoryBreakers, clock: FakeClock, stage: Stage, left_alone: str
) -> None:
    """Both try again with this message. Were the other not told, all behind it would wait for it a minute."""
    here = breakers(store, clock)
    gates = Gatekeeper(here, clock)
    both = ("relay", "destination:one")
    for gate in both:
        here.trip(gate, None, "421")
    clock.advance(seconds=61)
    assert [here.admit(gate, 1).messages for gate in both] == [1, 1]
    assert [here.admit(gate, 1).messages for gate in both] == [0, 0]
    reply = Reply(421, "4.7.0", "too many messages from you")
    gates.answered(to("one"), RELAY, Exchange(stage, reply, "", 0.0))
    (other,) = set(both) - {left_alone}
    assert here.wait(left_alone) > 60
    # answered, the relay takes one more
    assert here.admit(other, 9).messages == (2 if stage is Stage.RCPT else 1)


def test_what_a_domain_does_not_let_through_keeps_nothing_of_its_relay(
    store: InMemoryBreakers, clock: FakeClock
) -> None:
    here = breakers(store, clock)
    gates = Gatekeeper(here, clock)
    for gate in ("relay", "domain:a.example"):
        here.trip(gate, None, "421")
    clock.advance(seconds=61)
    row = to("")
    assert here.admit("domain:a.example", 1).messages == here.admit("relay", 1).messages == 1
    assert gates.must_ask(row, RELAY) == "domain:a.example"
    gates.not_admitted(row, RELAY)
    assert here.admit("relay", 1).messages == 1
    assert here.admit("domain:a.example", 1).messages == 0
