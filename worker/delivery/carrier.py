"""One connection's life: it takes jobs while there are any, and sees each to its result."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from worker.delivery.hop import Hop
from worker.delivery.jobs import Job, Jobs
from worker.delivery.journal import Journal
from worker.delivery.parcels import Claimed, Result
from worker.delivery.transports.base import Connection, Exchange, HopUnavailable, Transport
from worker.domain.clock import Clock
from worker.domain.errors import PressrunError
from worker.domain.message import Envelope, Message
from worker.domain.replies import Stage

log = structlog.get_logger(__name__)

# A connection nobody needs is closed before the server does it (many wait 30 s or less between messages).
IDLE_SECONDS = 10.0

# A server may close an idle connection at the moment it is used again: another is opened, this often.
REOPENS = 3


class Books:
    """Where results go: first the journal, then whoever records them."""

    def __init__(
        self, journal: Journal, clock: Clock, loop: asyncio.AbstractEventLoop, hand_out: Callable[[Result], None]
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._loop = loop
        self._hand_out = hand_out
        self._flushing = False

    def begins(self, claimed: Claimed) -> None:
        self._journal.body_begins(claimed)

    def finished(self, job: Job, exchange: Exchange, *, later: bool = False) -> None:
        """`later`: most likely another body of this connection begins at once, and is written down with it."""
        now = self._clock.now()
        if later and not self._flushing:
            self._flushing = True
            self._loop.call_soon(self.flush)
        try:
            self._journal.outcome(job.claimed, now, exchange, later=later)
        except OSError:
            # a full disk: the ledger may learn of it all the same, and without a result the row stays `sending`
            log.exception("journal_failed", delivery=job.claimed.id)
        self._hand_out(Result(job.claimed, now, exchange))

    def flush(self) -> None:
        """Write down what was left for later: at the end of this round of the loop at the latest."""
        self._flushing = False
        try:
            self._journal.flush()
        except OSError:
            log.exception("journal_failed")

    def given_back(self, job: Job, fault: str = "") -> None:
        """Not begun; with a `fault`, never to be."""
        self._hand_out(Result(job.claimed, self._clock.now(), None, fault=fault))


@dataclass(slots=True, eq=False)
class _Ready:
    """A job with its mail made."""

    job: Job
    envelope: Envelope
    message: Message


class Carrier:
    """Makes the next mail while the one before is on its way, where the connection asks for it."""

    def __init__(self, transport: Transport, hop: Hop, jobs: Jobs, books: Books, clock: Clock) -> None:
        self._transport = transport
        self._hop = hop
        self._jobs = jobs
        self._books = books
        self._clock = clock
        self._connection: Connection | None = None
        self._ahead: _Ready | None = None

    async def run(self) -> None:
        """Until nothing has come for a while, or the hop takes no more connections than others already have."""
        try:
            while (ready := await self._next()) is not None:
                await self._guarded(ready)
                if self._connection is None and self._hop.connections:
                    return
        finally:
            self._let_go()
            await self._drop()

    async def _next(self) -> _Ready | None:
        ready, self._ahead = self._ahead, None
        while ready is None:
            job = await self._jobs.wait(IDLE_SECONDS)
            if job is None:
                return None
            ready = self._made(job)
        return ready

    def _made(self, job: Job) -> _Ready | None:
        """With its mail, or None after the job was dealt with: no mail can be made of it, or too late."""
        try:
            envelope, message = job.mail.compose(job.claimed)
        except Exception as error:
            if not isinstance(error, PressrunError):
                log.exception("composing_broke", delivery=job.claimed.id)
            self._books.given_back(job, fault=str(error) or repr(error))
            return None
        return _Ready(job, envelope, message)

    def _following(self) -> tuple[Envelope, Message] | None:
        """What goes next over this connection, for the connection to offer ahead."""
        while self._ahead is None and (job := self._jobs.take()) is not None:
            if self._too_late(job):
                self._books.given_back(job)
            else:
                self._ahead = self._made(job)
        return None if self._ahead is None else (self._ahead.envelope, self._ahead.message)

    async def _guarded(self, ready: _Ready) -> None:
        """A fault of ours must not take the job with it: without a result it would stay `sending` for ever."""
        try:
            await self._handle(ready)
        except Exception as error:
            log.exception("conversation_broke", delivery=ready.job.claimed.id)
            # how far it came is not known, so it counts as unknown
            self._books.finished(ready.job, Exchange(Stage.BODY, None, f"internal error: {error!r}", 0.0))
            await self._drop()

    async def _handle(self, ready: _Ready) -> None:
        for _ in range(REOPENS):
            # after making it, too: the first mail of a variant is compiled, which takes longer than there is to spare
            if self._too_late(ready.job):
                break
            if self._connection is None or not self._connection.usable:
                await self._drop()
                self._connection = await self._open(ready.job)
                if self._connection is None:
                    return
                if self._too_late(ready.job):
                    break
            exchange = await self._converse(ready, self._connection)
            if exchange.stage is Stage.CONNECT and exchange.reply is None:
                continue
            if exchange.stage is Stage.CONNECT:
                await self._drop()
                self._hop.refused(str(exchange.reply))
            elif exchange.reply is not None:
                self._hop.listened()
            self._books.finished(ready.job, exchange, later=self._ahead is not None)
            return
        self._books.given_back(ready.job)
        if self._connection is not None and self._connection.offered:
            # only a cut takes that back
            await self._drop()

    async def _converse(self, ready: _Ready, connection: Connection) -> Exchange:
        claimed = ready.job.claimed
        return await connection.send(
            ready.envelope, ready.message, lambda: self._books.begins(claimed), self._following
        )

    async def _open(self, job: Job) -> Connection | None:
        """A new connection, or None after the job was dealt with: the hop is down, or full."""
        refusal = None
        if self._hop.may_open():
            try:
                return await self._hop.open(self._transport.open())
            except HopUnavailable as error:
                refusal = Exchange(Stage.CONNECT, error.reply, error.detail, 0.0)
        if self._hop.connections:
            self._jobs.put_back(job)
        elif refusal is not None:
            self._books.finished(job, refusal)
        else:
            self._books.given_back(job)
        return None

    def _too_late(self, job: Job) -> bool:
        return self._jobs.closed or job.too_late(self._clock.ticks())

    def _let_go(self) -> None:
        if self._ahead is not None:
            ahead, self._ahead = self._ahead, None
            self._books.given_back(ahead.job)

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._hop.closed()
            await connection.close()
