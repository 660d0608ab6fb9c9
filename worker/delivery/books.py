"""Where results go: first the journal, then whoever records them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

import structlog

from worker.delivery.journal import Journal
from worker.delivery.lane import Job
from worker.delivery.parcels import Claimed, Hold, Result
from worker.delivery.transports.base import Exchange
from worker.domain.clock import Clock
from worker.domain.replies import Stage

log = structlog.get_logger(__name__)

# A journal that took no line (a full disk) is tried again after this, with one mail. Until then none begins.
SHUT_SECONDS = 5.0


class NotBegun(Exception):
    """A body must not go out. `stage`: how far its job came; at `CONNECT` not even a line of it was written down."""

    def __init__(self, stage: Stage, why: str) -> None:
        self.stage = stage
        super().__init__(why)


class Books:
    """Of one courier; used in its loop's thread."""

    def __init__(
        self, journal: Journal, clock: Clock, loop: asyncio.AbstractEventLoop, hand_out: Callable[[Result], None]
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._loop = loop
        self._hand_out = hand_out
        self._flushing = False
        self._shut_until = 0.0

    @property
    def doubtful(self) -> bool:
        """The last line of a body could not be written: offer it one row, not a hundred."""
        return self._shut_until > 0.0

    @property
    def shut(self) -> bool:
        """Whether no body may begin now. Asked for each mail."""
        return self.wait() > 0.0

    def wait(self) -> float:
        """Seconds until a body may begin; 0: now. From any thread."""
        return max(0.0, self._shut_until - self._clock.ticks()) if self._shut_until else 0.0

    def begins(self, claimed: Claimed) -> None:
        """Raises `NotBegun` where that cannot be written down: no byte of its body is out, so none is sent."""
        try:
            self._journal.body_begins(claimed)
        except OSError as error:
            if not self.shut:
                # those of other connections that come to it in the same moment are one failure, and one line
                log.exception("journal_failed", delivery=claimed.id, again_in_s=SHUT_SECONDS)
            self._shut_until = self._clock.ticks() + SHUT_SECONDS
            raise NotBegun(Stage.CONNECT, "its body could not be written down") from error
        self._shut_until = 0.0

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

    def compact(self, leases: Collection[int]) -> None:
        """Of the journal, keep what is said under these leases."""
        try:
            self._journal.compact(leases)
        except OSError:
            # a full disk: it stays as it is
            log.exception("journal_not_compacted")

    def given_back(self, job: Job, fault: str = "") -> None:
        """Not begun; with a `fault`, never to be."""
        self._hand_out(Result(job.claimed, self._clock.now(), None, fault=fault))

    def held(self, job: Job, hold: Hold) -> None:
        """Not begun, and not to be before its hop takes mail again."""
        self._hand_out(Result(job.claimed, self._clock.now(), None, hold=hold))
