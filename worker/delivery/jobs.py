"""What waits for one next hop in a process: in a lane for each destination, so that none waits behind another."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from worker.delivery.lane import Job, Lane
from worker.delivery.pulse import Pulse

Bounds = Callable[[str], tuple[float, float]]
"""Of a destination's lane: the least and the most connections."""


def unbounded(_destination: str) -> tuple[float, float]:
    """For a hop that serves one destination."""
    return math.inf, math.inf


class Jobs:
    """Within a lane first come, first served; the lanes in turn, among the carriers of one loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, pulse: Pulse, bounds: Bounds = unbounded) -> None:
        self._loop = loop
        self._pulse = pulse
        self._bounds = bounds
        self._turn: deque[Lane] = deque()
        self._idle: deque[asyncio.Future[bool]] = deque()
        self._staying: set[asyncio.Future[bool]] = set()
        self.lanes: dict[str, Lane] = {}
        self.closed = False

    def __len__(self) -> int:
        return sum(len(lane.waiting) for lane in self._turn)

    @property
    def free(self) -> int:
        """How many of those that wait may go at once."""
        return sum(lane.free for lane in self._turn)

    @property
    def busy(self) -> int:
        return sum(lane.busy for lane in self._turn)

    @property
    def idle(self) -> int:
        """Connections that wait for a job."""
        return len(self._idle)

    def lane(self, destination: str) -> Lane:
        found = self.lanes.get(destination)
        if found is None:
            found = self.add(destination, Lane(*self._bounds(destination)))
        return found

    def add(self, destination: str, lane: Lane) -> Lane:
        """A new one, which may be known from before."""
        self.lanes[destination] = lane
        self._turn.append(lane)
        return lane

    def put(self, jobs: Sequence[Job]) -> None:
        """Each into its lane; then as many connections are woken as may have one."""
        for destination, group in by_destination(jobs).items():
            self.lane(destination).waiting.extend(group)
        for _ in range(min(self.free, len(self._idle))):
            self._wake(self._idle.pop())

    def put_back(self, job: Job) -> None:
        """For another carrier, before all others."""
        self.lane(job.claimed.destination).waiting.appendleft(job)
        if self._idle:
            self._wake(self._idle.pop())

    def take(self) -> Job | None:
        """The next one that may go now, if there is one."""
        turn = self._turn
        for _ in range(len(turn)):
            lane = turn[0]
            turn.rotate(-1)
            if lane.waiting and lane.busy < lane.bound:
                return lane.waiting.popleft()
        return None

    def take_behind(self, job: Job) -> Job | None:
        """One to be offered behind this one, over the same connection: quick ones behind quick ones only."""
        if self.lanes[job.claimed.destination].slow:
            return None
        turn = self._turn
        for _ in range(len(turn)):
            lane = turn[0]
            turn.rotate(-1)
            if lane.waiting and not lane.slow and (lane.bound > lane.least or lane.least >= lane.most):
                return lane.waiting.popleft()
        return None

    async def wait(self, seconds: float, *, stays: bool = False) -> Job | None:
        """The next one; None where none has come within `seconds`, or none will come any more.

        Who `stays` is not dismissed meanwhile.
        """
        while (job := self.take()) is None and not self.closed:
            waiter = self._loop.create_future()
            self._idle.append(waiter)
            if stays:
                self._staying.add(waiter)
            timer = self._loop.call_later(seconds, self._wake, waiter, False)
            called = await waiter
            timer.cancel()
            self._staying.discard(waiter)
            if waiter in self._idle:
                self._idle.remove(waiter)
            if not called:
                return self.take()
        return job

    def dismiss(self) -> bool:
        """Let one idle carrier go, so that its connection is free for another hop; whether there was one."""
        waiter = next((one for one in self._idle if one not in self._staying), None)
        if waiter is None:
            return False
        self._idle.remove(waiter)
        self._wake(waiter, called=False)
        return True

    def look(self) -> None:
        """Now and then: see which of its lanes stand still."""
        now = self._pulse.lived()
        for lane in self._turn:
            lane.look(now)

    def too_late(self) -> list[Job]:
        """Take out what has waited too long: every connection may be held by a silent server."""
        late: list[Job] = []
        for lane in self._turn:
            gone = {job for job in lane.waiting if job.too_late(self._pulse)}
            if gone:
                late += [job for job in lane.waiting if job in gone]
                lane.waiting = deque(job for job in lane.waiting if job not in gone)
        return late

    def take_all(self) -> list[Job]:
        """All that wait."""
        left = [job for lane in self._turn for job in lane.waiting]
        for lane in self._turn:
            lane.waiting.clear()
        return left

    def close(self) -> list[Job]:
        """No more are handed out; those that waited."""
        self.closed = True
        left = self.take_all()
        while self._idle:
            self._wake(self._idle.pop())
        return left

    @staticmethod
    def _wake(waiter: asyncio.Future[bool], called: bool = True) -> None:
        if not waiter.done():
            waiter.set_result(called)


def by_destination(jobs: Iterable[Job]) -> dict[str, list[Job]]:
    found: dict[str, list[Job]] = {}
    for job in jobs:
        found.setdefault(job.claimed.destination, []).append(job)
    return found
