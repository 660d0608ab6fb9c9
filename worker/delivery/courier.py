"""The conversations of one process: an event loop in a thread of its own, over a pool of connections.

A claim's deliveries are handed in from the task's thread; each result is journalled before its connection's
next message and then handed out to the recorder. Slow conversations stay here when a chunk task ends, so a
silent server holds up one connection, not a worker.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog
import uvloop

from worker.delivery.hop import Hop
from worker.delivery.journal import Journal
from worker.delivery.parcels import Claimed, Lease, Result
from worker.delivery.transports.base import Connection, Exchange, HopUnavailable, Transport
from worker.domain.clock import Clock
from worker.domain.errors import PressrunError
from worker.domain.message import Envelope
from worker.domain.replies import Stage

log = structlog.get_logger(__name__)

# A connection nobody needs is closed before the server does it (many wait 30 s or less between messages).
IDLE_SECONDS = 10.0

# How often jobs that have waited too long for a connection are looked for.
REAP_SECONDS = 0.25

# A server may close an idle connection at the moment it is used again: another is opened, this often.
REOPENS = 3


class Mail(Protocol):
    """What turns a claimed delivery into bytes."""

    def compose(self, claimed: Claimed) -> tuple[Envelope, bytes]:
        """Raises `PressrunError` for a mail that cannot be made."""


@dataclass(frozen=True, slots=True)
class Job:
    claimed: Claimed
    lease: Lease
    mail: Mail


class Courier:
    """Make it after a fork. `hand_out` gets each result in the loop's thread and must not block."""

    def __init__(
        self, transport: Transport, journal: Journal, clock: Clock, connections: int, hand_out: Callable[[Result], None]
    ) -> None:
        self.hop = Hop(clock)
        self._transport = transport
        self._journal = journal
        self._clock = clock
        self._limit = connections
        self._hand_out = hand_out
        self._jobs: deque[Job] = deque()
        self._idle: deque[asyncio.Future[None]] = deque()
        self._carriers: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="courier", daemon=True)
        self._thread.start()
        self._loop.call_soon_threadsafe(self._reap)

    @property
    def waiting(self) -> int:
        """Jobs no connection has taken up yet."""
        return len(self._jobs)

    def submit(self, jobs: Sequence[Job]) -> None:
        """From any thread."""
        self._loop.call_soon_threadsafe(self._accept, jobs)

    def stop(self, seconds: float) -> None:
        """Finish what is open for at most `seconds`, give back what is not begun, close the connections.

        A conversation still open after that is cut; the journal tells the next owner how far it came.
        """
        asyncio.run_coroutine_threadsafe(self._finish(seconds), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # -- everything below runs in the loop's thread

    def _accept(self, jobs: Sequence[Job]) -> None:
        self._jobs.extend(jobs)
        for _ in range(min(len(jobs), len(self._idle))):
            self._wake(self._idle.pop())
        # Where the hop takes no more connections, those it took carry on by themselves.
        limit = self._limit if self.hop.may_open() else min(self._limit, max(1, self.hop.connections))
        for _ in range(min(len(self._jobs), limit) - len(self._carriers)):
            carrier = self._loop.create_task(self._carry())
            self._carriers.add(carrier)
            carrier.add_done_callback(self._carriers.discard)

    def _reap(self) -> None:
        """Give back what no connection took up in time: every one of them may be held by a silent server."""
        if self._stopping:
            return
        now = self._clock.ticks()
        late = [job for job in self._jobs if now > job.lease.start_by]
        if late:
            self._jobs = deque(job for job in self._jobs if now <= job.lease.start_by)
            for job in late:
                self._give_back(job)
        self._loop.call_later(REAP_SECONDS, self._reap)

    @staticmethod
    def _wake(waiter: asyncio.Future[None]) -> None:
        if not waiter.done():
            waiter.set_result(None)

    async def _carry(self) -> None:
        """One connection's life: take jobs while there are any, close when there have been none for a while."""
        connection: Connection | None = None
        try:
            while (job := await self._next_job()) is not None:
                connection = await self._guarded(job, connection)
                if connection is None and self.hop.connections:
                    return
        finally:
            await self._drop(connection)

    async def _next_job(self) -> Job | None:
        if not self._jobs and not self._stopping:
            waiter = self._loop.create_future()
            self._idle.append(waiter)
            timer = self._loop.call_later(IDLE_SECONDS, self._wake, waiter)
            await waiter
            timer.cancel()
            if waiter in self._idle:
                self._idle.remove(waiter)
        return self._jobs.popleft() if self._jobs else None

    async def _guarded(self, job: Job, connection: Connection | None) -> Connection | None:
        """A fault of ours must not take the job with it: without a result it would stay `sending` for ever."""
        try:
            return await self._handle(job, connection)
        except Exception as error:
            log.exception("conversation_broke", delivery=job.claimed.id)
            # how far it came is not known, so it counts as unknown
            self._finished(job, Exchange(Stage.BODY, None, f"internal error: {error!r}", 0.0))
            return None

    async def _handle(self, job: Job, connection: Connection | None) -> Connection | None:
        """See one job to its result; the connection to go on with."""
        for _ in range(REOPENS):
            if self._too_late(job):
                break
            if connection is None or not connection.usable:
                await self._drop(connection)
                connection = await self._open(job)
                if connection is None:
                    return None
            exchange = await self._converse(job, connection)
            if exchange is None:
                return connection
            if exchange.stage is Stage.CONNECT and exchange.reply is None:
                continue
            self._finished(job, exchange)
            return connection
        self._give_back(job)
        return connection

    async def _open(self, job: Job) -> Connection | None:
        """A new connection, or None after the job was dealt with: the hop is down, or full."""
        refusal = None
        if self.hop.may_open():
            try:
                return await self.hop.open(self._transport.open())
            except HopUnavailable as error:
                refusal = Exchange(Stage.CONNECT, error.reply, error.detail, 0.0)
        if self.hop.connections:
            self._pass_on(job)
        elif refusal is not None:
            self._finished(job, refusal)
        else:
            self._give_back(job)
        return None

    def _pass_on(self, job: Job) -> None:
        """To a connection that the hop did take."""
        self._jobs.appendleft(job)
        if self._idle:
            self._wake(self._idle.pop())

    async def _converse(self, job: Job, connection: Connection) -> Exchange | None:
        """The exchange, or None after the job was dealt with: too late by now, or no mail can be made of it."""
        try:
            envelope, message = job.mail.compose(job.claimed)
        except Exception as error:
            if not isinstance(error, PressrunError):
                log.exception("composing_broke", delivery=job.claimed.id)
            self._hand_out(Result(job.claimed, self._clock.now(), None, fault=str(error)))
            return None
        # only now: the first mail of a variant is compiled, which takes longer than the two seconds have to spare
        if self._too_late(job):
            self._give_back(job)
            return None
        try:
            return await connection.send(envelope, message, lambda: self._journal.body_begins(job.claimed))
        except Exception:
            await self._drop(connection)
            raise

    def _too_late(self, job: Job) -> bool:
        ticks = self._clock.ticks()
        return self._stopping or ticks > job.lease.start_by or ticks > job.lease.valid_until

    def _finished(self, job: Job, exchange: Exchange) -> None:
        now = self._clock.now()
        try:
            self._journal.outcome(job.claimed, now, exchange)
        except OSError:
            # a full disk: the ledger may learn of it all the same, and without a result the row stays `sending`
            log.exception("journal_failed", delivery=job.claimed.id)
        self._hand_out(Result(job.claimed, now, exchange))

    def _give_back(self, job: Job) -> None:
        self._hand_out(Result(job.claimed, self._clock.now(), None))

    async def _drop(self, connection: Connection | None) -> None:
        if connection is not None:
            self.hop.closed()
            await connection.close()

    async def _finish(self, seconds: float) -> None:
        self._stopping = True
        while self._jobs:
            self._give_back(self._jobs.popleft())
        while self._idle:
            self._wake(self._idle.pop())
        if self._carriers:
            _, late = await asyncio.wait(list(self._carriers), timeout=seconds)
            for carrier in late:
                carrier.cancel()
            await asyncio.gather(*late, return_exceptions=True)
