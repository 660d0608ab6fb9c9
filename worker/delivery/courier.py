"""The conversations of one process: an event loop in a thread of its own, over a pool of connections.

A claim's deliveries are handed in from the task's thread; each result is journalled before its connection's
next message and then handed out to the recorder. Slow conversations stay here when a chunk task ends, so a
silent server holds up one connection, not a worker.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence

import uvloop

from worker.delivery.carrier import Books, Carrier
from worker.delivery.hop import Hop
from worker.delivery.jobs import Job, Jobs
from worker.delivery.journal import Journal
from worker.delivery.parcels import Result
from worker.delivery.transports.base import Transport
from worker.domain.clock import Clock

# How often jobs that have waited too long for a connection are looked for.
REAP_SECONDS = 0.25


class Courier:
    """Make it after a fork. `hand_out` gets each result in the loop's thread and must not block."""

    def __init__(
        self, transport: Transport, journal: Journal, clock: Clock, connections: int, hand_out: Callable[[Result], None]
    ) -> None:
        self.hop = Hop(clock)
        self._transport = transport
        self._clock = clock
        self._limit = connections
        self._carriers: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        self._books = Books(journal, clock, self._loop, hand_out)
        self._jobs = Jobs(self._loop, clock)
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
        self._jobs.put(jobs)
        # Where the hop takes no more connections, those it took carry on by themselves.
        limit = self._limit if self.hop.may_open() else min(self._limit, max(1, self.hop.connections))
        for _ in range(min(len(self._jobs), limit) - len(self._carriers)):
            one = Carrier(self._transport, self.hop, self._jobs, self._books, self._clock)
            carrier = self._loop.create_task(one.run())
            self._carriers.add(carrier)
            carrier.add_done_callback(self._carriers.discard)

    def _reap(self) -> None:
        if self._jobs.closed:
            return
        for job in self._jobs.too_late():
            self._books.given_back(job)
        self._loop.call_later(REAP_SECONDS, self._reap)

    async def _finish(self, seconds: float) -> None:
        for job in self._jobs.close():
            self._books.given_back(job)
        if self._carriers:
            _, late = await asyncio.wait(list(self._carriers), timeout=seconds)
            for carrier in late:
                carrier.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        self._books.flush()
