"""Which hop a job goes to, where each domain has its own: known at once, or looked up meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from worker.delivery.books import Books
from worker.delivery.gatekeeper import Gatekeeper
from worker.delivery.jobs import Job
from worker.delivery.transports.base import Exchange, NextHop, NoRoute, RouteUnknown, Transport
from worker.domain.clock import Clock
from worker.domain.delivery import Reason

log = structlog.get_logger(__name__)

# DNS does not answer for a domain: its mail waits this long at least, and no attempt is counted.
UNKNOWN_SECONDS = 60.0
# Questions at once: a resolver has other customers.
_QUESTIONS = 200
# Some name servers are dead, and asked for seconds: what waits for those is no reason to claim no more.
_LONG_SECONDS = 1.0

@dataclass(slots=True)
class _Question:
    """Who waits for the answer; the tick at which it was asked."""

    jobs: list[Job]
    asked_at: float | None = None


Arrived = Callable[[NextHop, Sequence[Job]], None]


class Routing:
    """For the courier's loop."""

    def __init__(
        self, transport: Transport, books: Books, gatekeeper: Gatekeeper, clock: Clock, arrived: Arrived
    ) -> None:
        self._transport = transport
        self._books = books
        self._gates = gatekeeper
        self._arrived = arrived
        self._clock = clock
        self._asking: dict[str, _Question] = {}
        self._turn = asyncio.Semaphore(_QUESTIONS)
        self._tasks: set[asyncio.Task[None]] = set()

    def waiting(self, destination: str) -> int:
        """From any thread: how many for it wait for an answer that should soon be there."""
        long_ago = self._clock.ticks() - _LONG_SECONDS
        return sum(
            len(one.jobs)
            for one in list(self._asking.values())
            if (one.asked_at is None or one.asked_at > long_ago) and one.jobs[0].claimed.destination == destination
        )

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
        question = self._asking.get(domain)
        if question is not None:
            question.jobs.append(job)
            return
        self._asking[domain] = _Question([job])
        task = asyncio.get_running_loop().create_task(self._found(domain))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _found(self, domain: str) -> None:
        try:
            async with self._turn:
                self._asking[domain].asked_at = self._clock.ticks()
                hop = await self._transport.find(domain)
        except NoRoute as error:
            for job in self._answered(domain):
                self._gates.landed(job, None)
                self._books.finished(job, Exchange(error.stage, error.reply, "", 0.0))
        except RouteUnknown as error:
            self._hold(domain, str(error))
        except Exception as error:
            # a fault of ours must not leave its jobs `sending`
            log.exception("look_up_broke", domain=domain)
            self._hold(domain, f"the look-up of {domain} broke: {error!r}")
        else:
            self._arrived(hop, self._answered(domain))

    def _answered(self, domain: str) -> list[Job]:
        question = self._asking.pop(domain, None)
        return question.jobs if question else []

    def _hold(self, domain: str, why: str) -> None:
        for job in self._answered(domain):
            seconds = self._gates.growing(job, UNKNOWN_SECONDS)
            self._gates.landed(job, None)
            self._books.held(job, self._gates.hold(seconds, why, Reason.CONNECTION_FAILED))

    def given_back(self, job: Job) -> None:
        """Its hop is not known."""
        self._gates.landed(job, None)
        self._books.given_back(job)

    def close(self) -> None:
        """What is not known by now is given back."""
        for task in list(self._tasks):
            task.cancel()
        for question in self._asking.values():
            for job in question.jobs:
                self.given_back(job)
        self._asking.clear()
