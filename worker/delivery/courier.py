"""The conversations of one process: an event loop in a thread of its own, over a pool of connections.

A claim's deliveries are handed in from the task's thread; each result is journalled before its connection's
next message and then handed out to the recorder. Slow conversations stay here when a chunk task ends, so a
silent server holds up one connection, not a worker.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Sequence
from functools import partial

import uvloop

from worker.delivery.backlog import Backlog, Turns
from worker.delivery.books import Books
from worker.delivery.carrier import Carrier
from worker.delivery.desk import Desk
from worker.delivery.doors import Doors
from worker.delivery.gatekeeper import Gatekeeper
from worker.delivery.gates import Breakers, Leases
from worker.delivery.hop import Hop
from worker.delivery.jobs import Jobs
from worker.delivery.journal import Journal
from worker.delivery.lane import Job
from worker.delivery.paces import Paces
from worker.delivery.parcels import Result
from worker.delivery.permits import Permits
from worker.delivery.pulse import BEAT_SECONDS, Pulse
from worker.delivery.routing import Routing
from worker.delivery.shares import Shares
from worker.delivery.transports.base import NextHop, Transport
from worker.domain.breaker import Admission
from worker.domain.clock import Clock


class Courier:
    """Make it after a fork. `hand_out` gets each result in the loop's thread and must not block."""

    def __init__(
        self, transport: Transport, journal: Journal, clock: Clock, connections: int,
        hand_out: Callable[[Result], None], breakers: Breakers, leases: Leases,
    ) -> None:  # fmt: skip
        self._transport = transport
        self._clock = clock
        self._pulse = Pulse(clock)
        self._loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        self._books = Books(journal, clock, self._loop, hand_out)
        self._gates = Gatekeeper(breakers, clock)
        self._permits = Permits(leases, clock, self._loop, journal.owner)
        self._shares = Shares(connections, clock)
        self.turns = Turns(clock)
        self._paces = Paces(clock)
        self._doors = Doors()
        # of hops that something waits for, or somebody serves, since they are walked through: and the relay's
        self._desks: dict[NextHop, Desk] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        self._relay = self._desk(transport.relay) if transport.relay else None
        self._routing = None if transport.relay else Routing(transport, self._books, self._gates, clock, self._arrived)
        self._thread = threading.Thread(target=self._loop.run_forever, name="courier", daemon=True)
        self._thread.start()
        self._loop.call_soon_threadsafe(self._reap)

    @property
    def door(self) -> Hop | None:
        """The relay's; None where each domain has its own."""
        return self._relay.door if self._relay else None

    @property
    def doubtful(self) -> bool:
        """Whether one row should try first: the relay refused, or the journal took no line, and nothing went since."""
        return self._books.doubtful or (self._relay is not None and self._relay.door.doubtful)

    def shut(self, destination: str) -> float:
        """Seconds until a mail for it may begin; 0 while one may, or where its hops are not known yet.

        Unlisted domains have a hop each, so together they are never shut, but by a journal that takes no line.
        """
        return max(self._books.wait(), self._away(destination))

    def _away(self, destination: str) -> float:
        if self._relay is not None:
            return self._relay.door.wait()
        there = self._desks_of(destination) if destination else []
        remembered = self._doors.wait(destination)
        waits = [desk.door.wait() for desk in there] + ([] if remembered is None else [remembered])
        return min(waits, default=0.0)

    def _desks_of(self, destination: str) -> list[Desk]:
        return [desk for desk in list(self._desks.values()) if destination in desk.jobs.lanes]

    def load(self, destination: str) -> tuple[int, int | None]:
        """Jobs for it that no connection has taken up yet; how many more have a place, where that is known.

        What is stuck at one of several hops is not counted: it is no reason to leave the others without work.
        """
        there = self._desks_of(destination)
        remembered = self._doors.wait(destination)
        waiting = self._routing.waiting(destination) if self._routing else 0
        # a hop that refused and has no work: one row tries it, since a server that is silent turns all others away
        free, going = int(remembered == 0.0 and not waiting), False
        for desk in there:
            lane = desk.jobs.lanes[destination]
            if desk.door.wait() > 0 and (destination or not desk.door.taken_just_now):
                continue
            if lane.stuck:
                free += max(0, int(lane.bound) - lane.busy - len(lane.waiting))
                continue
            going = True
            if destination or not desk.backlog.crowds(lane):
                waiting += len(lane.waiting)
        known = bool(there) or remembered is not None
        return waiting, free if destination and known and not going else None

    def submit(self, jobs: Sequence[Job]) -> None:
        """From any thread."""
        self._loop.call_soon_threadsafe(self._accept, jobs)

    def compact_journal(self, leases: Collection[int]) -> None:
        """Keep what it says of these claims. To be called by the thread that claims."""

        async def compact() -> None:
            self._books.compact(leases)

        asyncio.run_coroutine_threadsafe(compact(), self._loop).result()

    def stop(self, seconds: float) -> None:
        """Finish what is open for at most `seconds`, give back what is not begun, close the connections.

        A conversation still open after that is cut; the journal tells the next owner how far it came.
        """
        asyncio.run_coroutine_threadsafe(self._finish(seconds), self._loop).result()
        self._permits.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # -- everything below runs in the loop's thread

    def _accept(self, jobs: Sequence[Job]) -> None:
        if self._closed:
            give_back = (self._relay or self._routing or self._books).given_back
            for job in jobs:
                give_back(job)
        elif self._relay is not None:
            self._relay.put(jobs)
            self._staff(self._relay)
        elif self._routing is not None:
            self._routing.accept(jobs)

    def _arrived(self, hop: NextHop, jobs: Sequence[Job]) -> None:
        """Their hop is known by now."""
        desk = self._desk(hop)
        desk.put(jobs)
        if self._closed:
            for job in desk.jobs.close():
                desk.given_back(job)
        self._staff(desk)

    def _desk(self, hop: NextHop) -> Desk:
        desk = self._desks.get(hop)
        if desk is None:
            jobs = Jobs(self._loop, self._pulse, self._shares.bounds(relay=not hop.hosts))
            door = self._doors.recall(hop) or Hop(self._clock, hop.name)
            backlog = Backlog(self._clock, self.turns)
            desk = self._desks[hop] = Desk(hop, door, jobs, backlog, self._books, self._gates, self._ask)
            self._paces.recall(hop, jobs)
        return desk

    def _staff(self, desk: Desk) -> None:
        """Open as many connections as it has work for, and may have."""
        for _ in range(0 if self._closed else self._shares.places(desk)):
            leaves = self._shares.leaves(desk)
            one = Carrier(self._transport, desk, self._books, self._permits, self._pulse, leaves)
            carrier = self._loop.create_task(one.run())
            desk.carriers.add(carrier)
            self._shares.serving.add(desk)
            carrier.add_done_callback(partial(self._left, desk))

    def _left(self, desk: Desk, carrier: asyncio.Task[None]) -> None:
        """A connection is closed: its place goes to whoever has waited longest for one."""
        desk.carriers.discard(carrier)
        if not desk.carriers:
            self._shares.serving.discard(desk)
        for hungry in self._shares.next_hungry():
            self._staff(hungry)

    def _ask(self, desk: Desk, gate: str, jobs: list[Job]) -> None:
        """How many of them may go, where a destination is tried again."""

        async def ask() -> None:
            admission = Admission(0)
            try:
                admission = await self._permits.run(lambda: self._gates.breakers.admit(gate, len(jobs)))
            finally:
                if self._closed:
                    self._gates.breakers.land(gate, 0, admission.messages)
                desk.admitted(jobs, 0 if self._closed else admission.messages)
                self._staff(desk)

        task = self._loop.create_task(ask())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _reap(self) -> None:
        """What has waited too long for a connection is looked for at each beat."""
        self._pulse.beat()
        if self._closed:
            return
        for desk in list(self._desks.values()):
            desk.reap()
            if desk.over and desk is not self._relay:
                self._doors.remember(desk.hop, desk.door, desk.jobs.lanes)
                self._paces.remember(desk.hop, desk.jobs)
                del self._desks[desk.hop]
            elif len(desk.jobs):
                self._staff(desk)
        self._doors.forget()
        if self._routing is not None:
            self._routing.reap()
        self._permits.renew()
        self._loop.call_later(BEAT_SECONDS, self._reap)

    async def _finish(self, seconds: float) -> None:
        self._closed = True
        for desk in self._desks.values():
            for job in desk.jobs.close():
                desk.given_back(job)
        if self._routing is not None:
            self._routing.close()
        running = [*self._tasks, *(carrier for desk in self._desks.values() for carrier in desk.carriers)]
        if running:
            _, late = await asyncio.wait(running, timeout=seconds)
            for one in late:
                one.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        self._books.flush()
