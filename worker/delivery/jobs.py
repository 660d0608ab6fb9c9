"""What waits for a connection, within one process."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from worker.delivery.parcels import Claimed, Lease
from worker.domain.clock import Clock
from worker.domain.message import Envelope, Message


class Mail(Protocol):
    """What turns a claimed delivery into bytes."""

    def compose(self, claimed: Claimed) -> tuple[Envelope, Message]:
        """Raises `PressrunError` for a mail that cannot be made."""


@dataclass(slots=True, eq=False)
class Job:
    """A claimed delivery, its claim, and what makes its mail."""

    claimed: Claimed
    lease: Lease
    mail: Mail

    def too_late(self, ticks: float) -> bool:
        """Whether its conversation may not start any more: its checks are too old, or its lease is over."""
        return ticks > self.lease.start_by or ticks > self.lease.valid_until


class Jobs:
    """First come, first served, among the carriers of one loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock) -> None:
        self._loop = loop
        self._clock = clock
        self._waiting: deque[Job] = deque()
        self._idle: deque[asyncio.Future[None]] = deque()
        self.closed = False

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, jobs: Iterable[Job]) -> None:
        self._waiting.extend(jobs)
        for _ in range(min(len(self._waiting), len(self._idle))):
            self._wake(self._idle.pop())

    def put_back(self, job: Job) -> None:
        """For another carrier, before all others."""
        self._waiting.appendleft(job)
        if self._idle:
            self._wake(self._idle.pop())

    def take(self) -> Job | None:
        """The next one, if there is one."""
        return self._waiting.popleft() if self._waiting else None

    async def wait(self, seconds: float) -> Job | None:
        """The next one; None where none has come within `seconds`, or none will come any more."""
        if not self._waiting and not self.closed:
            waiter = self._loop.create_future()
            self._idle.append(waiter)
            timer = self._loop.call_later(seconds, self._wake, waiter)
            await waiter
            timer.cancel()
            if waiter in self._idle:
                self._idle.remove(waiter)
        return self.take()

    def too_late(self) -> list[Job]:
        """Take out what has waited too long: every connection may be held by a silent server."""
        now = self._clock.ticks()
        late = [job for job in self._waiting if job.too_late(now)]
        if late:
            self._waiting = deque(job for job in self._waiting if not job.too_late(now))
        return late

    def close(self) -> list[Job]:
        """No more are handed out; those that waited."""
        self.closed = True
        left = list(self._waiting)
        self._waiting.clear()
        while self._idle:
            self._wake(self._idle.pop())
        return left

    @staticmethod
    def _wake(waiter: asyncio.Future[None]) -> None:
        if not waiter.done():
            waiter.set_result(None)
