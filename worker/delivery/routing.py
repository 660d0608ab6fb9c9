"""Which hop a job goes to, where each domain has its own: known at once, or looked up meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from worker.delivery.books import Books
from worker.delivery.gatekeeper import Gatekeeper
from worker.delivery.jobs import Job
from worker.delivery.transports.base import Exchange, NextHop, NoRoute, RouteUnknown, Transport
from worker.domain.delivery import Reason

log = structlog.get_logger(__name__)

# DNS does not answer for a domain: its mail waits this long, and no attempt is counted.
UNKNOWN_SECONDS = 60.0

Arrived = Callable[[NextHop, Sequence[Job]], None]


class Routing:
    """For the courier's loop."""

    def __init__(self, transport: Transport, books: Books, gatekeeper: Gatekeeper, arrived: Arrived) -> None:
        self._transport = transport
        self._books = books
        self._gates = gatekeeper
        self._arrived = arrived
        self._asking: dict[str, list[Job]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def accept(self, jobs: Sequence[Job]) -> None:
        """Each goes on to its hop, or ends, or waits for DNS."""
        going: dict[NextHop, list[Job]] = {}
        for job in jobs:
            domain = job.claimed.domain
            hop = self._transport.known(domain)
            if hop is not None:
                going.setdefault(hop, []).append(job)
            else:
                self._look_up(domain, job)
        for hop, group in going.items():
            self._arrived(hop, group)

    def _look_up(self, domain: str, job: Job) -> None:
        """One question for all that ask it."""
        waiting = self._asking.get(domain)
        if waiting is not None:
            waiting.append(job)
            return
        self._asking[domain] = [job]
        task = asyncio.get_running_loop().create_task(self._found(domain))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _found(self, domain: str) -> None:
        try:
            hop = await self._transport.find(domain)
        except NoRoute as error:
            for job in self._asking.pop(domain, []):
                self._books.finished(job, Exchange(error.stage, error.reply, "", 0.0))
        except RouteUnknown as error:
            self._hold(domain, str(error))
        except Exception as error:
            # a fault of ours must not leave its jobs `sending`
            log.exception("look_up_broke", domain=domain)
            self._hold(domain, f"the look-up of {domain} broke: {error!r}")
        else:
            self._arrived(hop, self._asking.pop(domain, []))

    def _hold(self, domain: str, why: str) -> None:
        for job in self._asking.pop(domain, []):
            self._books.held(job, self._gates.hold(UNKNOWN_SECONDS, why, Reason.CONNECTION_FAILED))

    def close(self) -> None:
        """What is not known by now is given back."""
        for task in list(self._tasks):
            task.cancel()
        for jobs in self._asking.values():
            for job in jobs:
                self._books.given_back(job)
        self._asking.clear()
