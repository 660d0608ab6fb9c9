"""Jobs whose hop is being looked up: how many questions at once, what counts as work in hand, what comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.integration.delivery.test_courier import PlainMail, claimed
from worker.delivery.books import Books
from worker.delivery.gatekeeper import Gatekeeper
from worker.delivery.gates import Breakers, InMemoryBreakers
from worker.delivery.journal import Journal
from worker.delivery.lane import Job
from worker.delivery.parcels import Lease, Result
from worker.delivery.routing import Routing
from worker.delivery.transports.base import RELAY, Connection, HopUnavailable, NextHop, NoRoute, RouteUnknown
from worker.domain.breaker import Pauses
from worker.domain.clock import FakeClock
from worker.domain.replies import Reply, Stage

GATE = "destination:big"


class SlowNames:
    """Answers when it is told to; `asked` are the domains whose question is open."""

    name = "mx"
    relay = None

    def __init__(self) -> None:
        self.asked: dict[str, asyncio.Future[NextHop]] = {}

    def known(self, _domain: str) -> NextHop | None:
        return None

    async def find(self, domain: str) -> NextHop:
        answer: asyncio.Future[NextHop] = asyncio.get_running_loop().create_future()
        self.asked[domain] = answer
        try:
            return await answer
        finally:
            del self.asked[domain]

    async def open(self, hop: NextHop = RELAY) -> Connection:
        raise HopUnavailable(f"nothing is sent here, to {hop.name}")


class Room:
    """A routing with all that belongs to it, in the loop that runs."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.names = SlowNames()
        self.results: list[Result] = []
        self.arrived: list[Job] = []
        self.breakers = Breakers(InMemoryBreakers(self.clock), self.clock, lambda *_: Pauses(60, 600, full=3))
        self.journal = Journal(folder)
        books = Books(self.journal, self.clock, asyncio.get_running_loop(), self.results.append)
        gates = Gatekeeper(self.breakers, self.clock)
        self.routing = Routing(self.names, books, gates, self.clock, self._arrived)

    def _arrived(self, _hop: NextHop, jobs: Sequence[Job]) -> None:
        self.arrived += jobs

    def accept(self, number: int, domain: str, destination: str = "") -> None:
        one = replace(claimed(number), address=f"r{number}@{domain}", destination=destination)
        self.routing.accept([Job(one, Lease(1, 0.0, 0.0, datetime.now(UTC), 1), PlainMail())])

    def probe(self) -> None:
        """The breaker of `big` has let one message through, and no more until that one is told of."""
        self.breakers.trip(GATE, None, "421")
        self.clock.advance(seconds=61)
        assert self.breakers.admit(GATE, 5).messages == 1
        assert self.breakers.admit(GATE, 5).messages == 0


def test_so_many_questions_at_once_and_all_count_but_those_that_take_long(tmp_path: Path) -> None:
    async def go() -> None:
        room = Room(tmp_path)
        for number in range(500):
            room.accept(number, f"d{number}.example")
        room.accept(500, "d0.example")
        room.accept(501, "big.example", "big")
        await asyncio.sleep(0.01)
        assert len(room.names.asked) == 200
        assert (room.routing.waiting(""), room.routing.waiting("big")) == (501, 1)
        room.clock.advance(seconds=2)
        assert room.routing.waiting("") == 0
        room.accept(502, "new.example")
        assert room.routing.waiting("") == 1
        for answer in list(room.names.asked.values()):
            answer.set_result(NextHop("mx.example", hosts=(("mx.example",),)))
        await asyncio.sleep(0.01)
        assert (len(room.arrived), len(room.names.asked)) == (201, 200)
        room.routing.reap()
        assert {one.hold is not None for one in room.results} == {True}
        assert len(room.results) == 102
        room.routing.close()
        assert len(room.results) == 302
        assert room.routing.waiting("") == 0
        room.journal.close()

    asyncio.run(go())


def test_domains_that_were_silent_before_take_few_of_the_places(tmp_path: Path) -> None:
    async def go() -> None:
        room = Room(tmp_path)
        for number in range(100):
            room.accept(number, f"dead{number}.example")
        await asyncio.sleep(0.01)
        for answer in list(room.names.asked.values()):
            answer.set_exception(RouteUnknown("silent"))
        await asyncio.sleep(0.01)
        for number in range(100):
            room.accept(number, f"dead{number}.example")
        room.accept(100, "other.example")
        await asyncio.sleep(0.01)
        assert len(room.names.asked) == 21
        assert "other.example" in room.names.asked
        room.routing.close()
        room.journal.close()

    asyncio.run(go())


@pytest.mark.parametrize(
    "error",
    [NoRoute(Stage.RCPT, Reply(556, "5.1.10", "no mail")), RouteUnknown("DNS is away"), ZeroDivisionError(), None],
    ids=["there is none", "nobody says", "our fault", "closed"],
)
def test_what_a_breaker_has_let_through_is_told_of_where_no_hop_was_found(
    tmp_path: Path, error: Exception | None
) -> None:
    """Or the next probe would have to wait for a minute."""

    async def go() -> None:
        room = Room(tmp_path)
        room.probe()
        room.accept(1, "big.example", "big")
        await asyncio.sleep(0.01)
        if error is None:
            room.routing.close()
        else:
            room.names.asked["big.example"].set_exception(error)
            await asyncio.sleep(0.01)
        assert len(room.results) == 1
        assert room.breakers.admit(GATE, 5).messages == 1
        room.journal.close()

    asyncio.run(go())
