"""One connection's life: it takes jobs while there are any, and sees each to its result."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from worker.delivery.books import Books, NotBegun
from worker.delivery.desk import Desk
from worker.delivery.lane import SLOW_SECONDS, Job
from worker.delivery.permits import Permits
from worker.delivery.pulse import Pulse
from worker.delivery.transports.base import Connection, Exchange, HopUnavailable, Transport
from worker.domain.errors import PressrunError
from worker.domain.message import Envelope, Message
from worker.domain.replies import Stage

log = structlog.get_logger(__name__)

# A connection nobody needs is closed before the server does it (many wait 30 s or less between messages).
IDLE_SECONDS = 10.0

# One of few that all workers have together is not kept from the others while it is idle.
SHARED_IDLE_SECONDS = 1.0

# … nor for ever: then it is closed, and whoever has less than a fair part of them comes first.
SHARED_SECONDS = 30.0

_LEASE_OVER = "its lease was over before its body began"

# A server may close an idle connection at the moment it is used again: another is opened, this often.
REOPENS = 3


@dataclass(slots=True, eq=False)
class _Ready:
    """A job with its mail made."""

    job: Job
    envelope: Envelope
    message: Message


class Carrier:
    """Makes the next mail while the one before is on its way, where the connection asks for it."""

    def __init__(
        self, transport: Transport, desk: Desk, books: Books, permits: Permits, pulse: Pulse, leaves: Callable[[], bool]
    ) -> None:
        """`leaves` is asked after each message: whether another hop needs the place."""
        self._transport = transport
        self._desk = desk
        self._door = desk.door
        self._jobs = desk.jobs
        self._books = books
        self._permits = permits
        self._permit = ""
        self._patience = SHARED_IDLE_SECONDS if desk.hop.connections else IDLE_SECONDS
        self._shared_until = math.inf
        self._was_slow = False
        self._used = True
        self._pulse = pulse
        self._leaves = leaves
        self._connection: Connection | None = None
        self._ahead: _Ready | None = None

    async def run(self) -> None:
        """Until nothing has come for a while, or the hop takes no more connections than others already have."""
        try:
            while (ready := await self._next()) is not None:
                lane = self._jobs.lanes[ready.job.claimed.destination]
                lane.busy += 1
                try:
                    took = await self._guarded(ready)
                finally:
                    lane.busy -= 1
                if took is not None:
                    lane.took_up(took)
                if (self._connection is None and self._door.connections) or (self._used and self._leaves()):
                    return
                if self._pulse.ticks() >= self._shared_until and not self._offered:
                    await self._drop()
        finally:
            self._let_go()
            await self._drop()

    async def _next(self) -> _Ready | None:
        ready, self._ahead = self._ahead, None
        while ready is None:
            # one that was opened for a row that could not wait for it is there when the row comes again
            patience = max(self._patience, self._desk.backlog.awaits() if self._was_slow else 0.0)
            job = await self._jobs.wait(patience, stays=not self._used)
            if job is None:
                return None
            ready = None if self._desk.turned_away(job) else self._made(job)
        return ready

    def _made(self, job: Job) -> _Ready | None:
        """With its mail, or None after the job was dealt with: no mail can be made of it, or too late."""
        try:
            envelope, message = job.mail.compose(job.claimed)
        except Exception as error:
            if not isinstance(error, PressrunError):
                log.exception("composing_broke", delivery=job.claimed.id)
            self._desk.given_back(job, fault=str(error) or repr(error))
            return None
        return _Ready(job, envelope, message)

    def _following(self, before: Job) -> tuple[Envelope, Message] | None:
        """What goes next over this connection, for the connection to offer ahead."""
        while self._ahead is None and (job := self._jobs.take_behind(before)) is not None:
            if self._must_stay(job):
                self._desk.given_back(job)
            elif not self._desk.turned_away(job):
                self._ahead = self._made(job)
        return None if self._ahead is None else (self._ahead.envelope, self._ahead.message)

    async def _guarded(self, ready: _Ready) -> float | None:
        """Seconds it took, None where it did not begin; one that came about in no second counts as slow.

        A fault of ours must not take the job with it: without a result it would stay `sending` for ever.
        """
        try:
            return await self._handle(ready)
        except Exception as error:
            log.exception("conversation_broke", delivery=ready.job.claimed.id)
            # how far it came is not known, so it counts as unknown
            self._desk.finished(ready.job, Exchange(Stage.BODY, None, f"internal error: {error!r}", 0.0))
            await self._drop()
            return None

    async def _handle(self, ready: _Ready) -> float | None:
        for _ in range(REOPENS):
            # after making it, too: the first mail of a variant is compiled, which takes longer than there is to spare
            if self._must_stay(ready.job):
                break
            if self._connection is None or not self._connection.usable:
                await self._drop()
                began = self._pulse.lived()
                self._connection = await self._open(ready.job)
                took = self._pulse.lived() - began
                if self._connection is None:
                    return took if took >= SLOW_SECONDS else None
                self._was_slow = took >= SLOW_SECONDS
                if self._must_stay(ready.job):
                    break
            began = self._pulse.lived()
            exchange = await self._converse(ready, self._connection)
            took = self._pulse.lived() - began
            if exchange.stage is Stage.CONNECT and exchange.reply is None:
                continue
            if exchange.stage is Stage.CONNECT:
                await self._drop()
                self._desk.refused(exchange, str(exchange.reply))
            elif exchange.reply is not None:
                self._door.listened()
            self._desk.finished(ready.job, exchange, later=self._ahead is not None)
            return took
        self._desk.given_back(ready.job)
        if self._offered or self._books.shut:
            # only a cut takes back what was offered; and nothing goes over it while the journal takes no line
            await self._drop()
        return None

    async def _converse(self, ready: _Ready, connection: Connection) -> Exchange:
        job = ready.job
        self._used = True
        try:
            return await connection.send(
                ready.envelope, ready.message, lambda: self._begins(job), lambda: self._following(job)
            )
        except NotBegun as stayed:
            return Exchange(stayed.stage, None, str(stayed), 0.0)

    def _begins(self, job: Job) -> None:
        """Its body, unless this process was stopped in the middle of the conversation until others took the job over.

        They read what is written down once the lease is over, so it is looked at again behind that. What cannot be
        written down does not begin either.
        """
        if job.lease_over(self._pulse):
            raise NotBegun(Stage.CONNECT, _LEASE_OVER)
        self._books.begins(job.claimed)
        if job.lease_over(self._pulse):
            raise NotBegun(Stage.DATA, _LEASE_OVER)

    async def _open(self, job: Job) -> Connection | None:
        """A new connection, or None after the job was dealt with: the hop is down, or full."""
        refusal = None
        if self._door.may_open():
            try:
                connection = await self._door.open(self._opened(job))
                if connection is not None:
                    self._used = False
                    return connection
            except HopUnavailable as error:
                self._desk.refused(error, str(error))
                refusal = Exchange(Stage.CONNECT, error.reply, error.detail, 0.0)
        if self._door.connections:
            self._jobs.put_back(job)
        elif refusal is not None:
            self._desk.finished(job, refusal)
        elif not self._desk.turned_away(job):
            self._desk.given_back(job)
        return None

    async def _opened(self, job: Job) -> Connection | None:
        """With a permit where the hop needs one; None where all are taken. Raises `HopUnavailable`."""
        hop = self._desk.hop
        permit = await self._permits.take(hop, urgent=job.claimed.campaign_id is None)
        if permit is None:
            self._door.all_taken()
            return None
        try:
            connection = await self._transport.open(hop)
        except BaseException:
            self._permits.give_back(permit)
            raise
        self._permit = permit
        if permit:
            self._shared_until = self._pulse.ticks() + SHARED_SECONDS
        return connection

    def _must_stay(self, job: Job) -> bool:
        return self._jobs.closed or self._books.shut or job.too_late(self._pulse)

    @property
    def _offered(self) -> bool:
        return self._connection is not None and self._connection.offered

    def _let_go(self) -> None:
        if self._ahead is not None:
            ahead, self._ahead = self._ahead, None
            self._desk.given_back(ahead.job)

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        self._used = True
        if connection is not None:
            self._door.closed()
            await connection.close()
            self._permits.give_back(self._permit)
