"""One next hop's desk in a process: what waits for it, who serves it, and what is done with a job that cannot go."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence

from worker.delivery.backlog import Backlog
from worker.delivery.books import Books
from worker.delivery.gatekeeper import SHORTEST_HOLD_SECONDS, Gatekeeper
from worker.delivery.hop import Hop
from worker.delivery.jobs import Jobs, by_destination
from worker.delivery.lane import Job, Lane
from worker.delivery.transports.base import Exchange, HopUnavailable, NextHop
from worker.domain.delivery import Reason

Ask = Callable[["Desk", str, list[Job]], None]
"""Ask this breaker how many of the jobs may go, then call `admitted`."""


class Desk:
    """Of the courier's loop."""

    def __init__(
        self, hop: NextHop, door: Hop, jobs: Jobs, backlog: Backlog, books: Books, gatekeeper: Gatekeeper, ask: Ask
    ) -> None:
        self.hop = hop
        self.door = door
        self.jobs = jobs
        self.backlog = backlog
        self.carriers: set[asyncio.Task[None]] = set()
        self._books = books
        self._gates = gatekeeper
        self._ask = ask
        self._asked = 0

    @property
    def is_relay(self) -> bool:
        return not self.hop.hosts

    @property
    def needed(self) -> int:
        """How many more connections it has work for and may have."""
        wanted = self.jobs.free + self.jobs.busy - len(self.carriers)
        if self.hop.connections:
            wanted = min(wanted, 0 if self.door.taken else self.hop.connections - len(self.carriers))
        # Where the hop takes no more connections, those it took carry on by themselves.
        return wanted if self.door.may_open() else min(wanted, max(1, self.door.connections) - len(self.carriers))

    @property
    def is_slow(self) -> bool:
        """It holds up what goes to it."""
        return any(lane.slow for lane in self.jobs.lanes.values())

    @property
    def is_new(self) -> bool:
        """Nothing is known of it yet."""
        return not any(lane.took for lane in self.jobs.lanes.values())

    @property
    def over(self) -> bool:
        """Nothing waits, nobody serves, no answer is out; its door and its pace are remembered elsewhere."""
        return not self.carriers and not len(self.jobs) and not self._asked and not self.door.taken

    def put(self, jobs: Sequence[Job]) -> None:
        """Those that may not go now are given back or held."""
        if self._gates.breakers.troubled or not self.is_relay:
            self._turn_away(jobs)
        else:
            self.jobs.put(jobs)

    def _turn_away(self, jobs: Sequence[Job]) -> None:
        for destination, group in by_destination(jobs).items():
            going = self._let_through([job for job in group if not self.turned_away(job)])
            if not self.is_relay:
                going = self._those_with_room(destination, going)
            if going:
                self.jobs.put(going)

    def turned_away(self, job: Job) -> bool:
        """Whether its hop, or its destination, takes nothing now; then it has been dealt with.

        Rows of a listed destination that throttles wait in the queue, where nobody claims them, and so does all behind
        a relay that is shut. What shares its claims with other hops would be claimed before them again and again:
        it is deferred.
        """
        wait = self._gates.shut(job, self.hop)
        if wait > 0 and (job.claimed.destination or (self.is_relay and self._gates.breakers.wait(self.hop.gate) > 0)):
            self.given_back(job)
        elif wait > 0:
            self.held(job, wait, "its server asked for a pause", Reason.THROTTLED)
        elif self.door.taken and job.claimed.destination:
            self.given_back(job)
            return True
        elif self.door.taken_just_now:
            return False
        elif not self.is_relay and (wait := self.door.wait()) > 0:
            # nothing is wrong with one that others have all connections of
            wait = wait if self.door.taken else self._gates.growing(job, wait)
            self.held(job, wait, f"{self.hop.name}: {self.door.why}", Reason.CONNECTION_FAILED)
        return wait > 0

    def _let_through(self, jobs: list[Job]) -> list[Job]:
        """Those that may go; for the others a breaker that tries its hop again is asked, which takes a moment."""
        asking: dict[str, list[Job]] = {}
        for job in jobs:
            asking.setdefault(self._gates.must_ask(job, self.hop), []).append(job)
        going = asking.pop("", [])
        for gate, group in asking.items():
            self._asked += 1
            self._ask(self, gate, group)
        return going

    def admitted(self, jobs: list[Job], messages: int) -> None:
        """So many of them may go."""
        self._asked -= 1
        if messages:
            self.jobs.put(jobs[:messages])
        for job in jobs[messages:]:
            self._gates.not_admitted(job, self.hop)
            hold = self._gates.hold(SHORTEST_HOLD_SECONDS, "its server is tried with few messages", Reason.THROTTLED)
            self._books.held(job, hold)

    def _those_with_room(self, destination: str, jobs: list[Job]) -> list[Job]:
        """A hop that takes its time keeps a few; the others look again when those before them may have gone."""
        lane = self.jobs.lane(destination)
        room = len(jobs) if destination and not lane.slow else self.backlog.room(lane, len(jobs))
        for job in jobs[room:]:
            self._sent_away(job, lane, "slow, others stand before it")
        return jobs[:room]

    def _sent_away(self, job: Job, lane: Lane, why: str) -> None:
        """Until its turn."""
        wait = self.backlog.book(lane, self.hop.connections or math.inf) or SHORTEST_HOLD_SECONDS
        self._held(job, wait, f"{self.hop.name}: {why}", Reason.CONNECTION_FAILED)

    def reap(self) -> None:
        """What has waited too long for a connection: all may be held by a silent server."""
        self.jobs.look()
        lane = None if self.is_relay else self.jobs.lanes.get("")
        in_the_way = lane is not None and (lane.stuck or self.backlog.takes_its_time(lane))
        for job in self.jobs.too_late():
            if lane is not None and in_the_way and not job.claimed.destination:
                self._sent_away(job, lane, "no connection free")
                self.backlog.expect_back()
            else:
                self.given_back(job)

    def refused(self, refusal: HopUnavailable | Exchange, why: str) -> None:
        """It would not take a connection, or, on a new one, no message at all."""
        if not self.door.connections:
            self._gates.refused(self.hop, refusal)
        self.door.refused(why)

    # -- ends of a job, of which the breakers are told

    def finished(self, job: Job, exchange: Exchange, *, later: bool = False) -> None:
        self._gates.answered(job, self.hop, exchange)
        self._books.finished(job, exchange, later=later)

    def given_back(self, job: Job, fault: str = "") -> None:
        self._gates.landed(job, self.hop)
        self._books.given_back(job, fault)

    def held(self, job: Job, seconds: float, why: str, reason: Reason) -> None:
        self._held(job, max(seconds, SHORTEST_HOLD_SECONDS), why, reason)

    def _held(self, job: Job, seconds: float, why: str, reason: Reason) -> None:
        self._gates.landed(job, self.hop)
        self._books.held(job, self._gates.hold(seconds, why, reason))
