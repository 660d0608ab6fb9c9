"""Which hop a job goes to, where each domain has its own: known at once, or looked up meanwhile."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from worker.delivery.books import Books
from worker.delivery.gatekeeper import Gatekeeper
from worker.delivery.lane import Job
from worker.delivery.transports.base import Exchange, NextHop, NoRoute, RouteUnknown, Transport
from worker.domain.clock import Clock
from worker.domain.delivery import Reason

log = structlog.get_logger(__name__)

# DNS does not answer for a domain: its mail waits this long at least, and no attempt is counted.
UNKNOWN_SECONDS = 60.0
# A question that could not be put is put again after this at least.
LATE_SECONDS = 10.0
# Questions at once: a resolver has other customers.
_QUESTIONS = 200
# … and of those about domains whose servers did not answer the last time: each holds its place for seconds.
_DOUBTFUL_QUESTIONS = 20
_DOUBTFUL_KEPT = 20_000
# What waits for longer than this is no reason to claim no more.
_LONG_SECONDS = 1.0


@dataclass(slots=True)
class _Question:
    """Who waits for the answer, and since which tick; whether it was put already."""

    jobs: list[Job]
    since: float
    put: bool = False


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
        self._doubtful_turn = asyncio.Semaphore(_DOUBTFUL_QUESTIONS)
        self._doubtful: OrderedDict[str, None] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()

    def waiting(self, destination: str) -> int:
        """From any thread: how many for it wait for an answer that should soon be there."""
        long_ago = self._clock.ticks() - _LONG_SECONDS
        return sum(
            len(one.jobs)
            for one in list(self._asking.values())
            if one.since > long_ago and one.jobs[0].claimed.destination == destination
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
        self._asking[domain] = _Question([job], self._clock.ticks())
        task = asyncio.get_running_loop().create_task(self._found(domain))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _found(self, domain: str) -> None:
        try:
            async with self._doubtful_turn if domain in self._doubtful else self._turn:
                if domain not in self._asking:
                    return
                self._asking[domain].put = True
                hop = await self._transport.find(domain)
        except NoRoute as error:
            for job in self._answered(domain):
                self._gates.landed(job, None)
                self._books.finished(job, Exchange(error.stage, error.reply, "", 0.0))
        except RouteUnknown as error:
            self._doubtful[domain] = None
            if len(self._doubtful) > _DOUBTFUL_KEPT:
                self._doubtful.popitem(last=False)
            self._hold(domain, UNKNOWN_SECONDS, str(error))
        except Exception as error:
            # a fault of ours must not leave its jobs `sending`
            log.exception("look_up_broke", domain=domain)
            self._hold(domain, UNKNOWN_SECONDS, f"the look-up of {domain} broke: {error!r}")
        else:
            self._doubtful.pop(domain, None)
            self._arrived(hop, self._answered(domain))

    def _answered(self, domain: str) -> list[Job]:
        question = self._asking.pop(domain, None)
        return question.jobs if question else []

    def _hold(self, domain: str, seconds: float, why: str) -> None:
        for job in self._answered(domain):
            self._gates.landed(job, None)
            hold = self._gates.hold(self._gates.growing(job, seconds), why, Reason.CONNECTION_FAILED)
            self._books.held(job, hold)

    def reap(self) -> None:
        """Questions that were not put in time: too many domains have dead name servers."""
        for domain, question in list(self._asking.items()):
            if not question.put and any(job.too_late(self._clock) for job in question.jobs):
                self._hold(domain, LATE_SECONDS, f"DNS was not asked for {domain} yet: others do not answer")

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
