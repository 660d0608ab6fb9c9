"""The whole audit of one system, as the command makes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from worker.audit import outside, queries
from worker.audit.findings import Finding, Kind
from worker.audit.looks import AuditRules, quick
from worker.audit.tallies import WrongSlice, mend, wrong_slices
from worker.campaigns import view_queries
from worker.campaigns.progress import untidy
from worker.delivery.gates import BreakerStore, GatesUnavailable
from worker.delivery.throttling import Limiter, LimiterUnavailable
from worker.domain.clock import Clock
from worker.storage.database import Database
from worker.storage.migrate import MigrationStatus, state


@dataclass(frozen=True, slots=True)
class Broker:
    """Where Celery's queues are: `prefix` stands before their names in Redis."""

    client: Callable[[], Redis]
    queues: Sequence[str]
    prefix: str


class Audit:
    """`limits`: the names of those in force. `overlooked`: events without an effect, by number."""

    def __init__(
        self, database: Database, clock: Clock, rules: AuditRules, broker: Broker, limiter: Limiter,
        limits: Sequence[str], breakers: BreakerStore, journals: Path, overlooked: Callable[[], Iterator[int]],
    ) -> None:  # fmt: skip
        self._database = database
        self._clock = clock
        self._rules = rules
        self._broker = broker
        self._limiter = limiter
        self._limits = limits
        self._breakers = breakers
        self._journals = journals
        self._overlooked = overlooked

    def quick(self) -> list[Finding]:
        """What probes can tell, of ledger, queues and this host's journals."""
        found = state(self._database)
        if found.status is not MigrationStatus.CURRENT:
            words = f"the database is at {found.current or 'no'} migration, this version needs {found.head}"
            finding = Finding.of(Kind.MIGRATION, 1, words)
            newer = found.status is MigrationStatus.NEWER
            return [replace(finding, fix="install the newer Pressrun that made it")] if newer else [finding]
        now = self._clock.now()
        with self._database.read() as connection:
            findings = list(quick(connection, self._rules, now))
        return [*findings, *self._queues(findings, now), *outside.journals_left(self._journals)]

    def thorough(self) -> Iterator[Finding]:
        """What takes a walk through all deliveries and events, page by page."""
        for wrong in self.wrong_slices():
            yield wrong.finding
        numbers = list(self._overlooked())
        if numbers:
            shown = ", ".join(map(str, numbers[:5]))
            words = f"{len(numbers):,} events led to nothing: {shown}{' …' if len(numbers) > 5 else ''}"
            yield Finding.of(Kind.EVENT_WITHOUT_EFFECT, len(numbers), words)

    def wrong_slices(self) -> Iterator[WrongSlice]:
        return wrong_slices(self._database, self._clock.now() - self._rules.retention)

    def mend_tallies(self) -> int:
        """How many slices were counted again."""
        return sum(mend(self._database, wrong) for wrong in self.wrong_slices())

    def depths(self) -> dict[str, int]:
        """Tasks in each of Celery's queues. Raises `RedisError`."""
        return outside.queue_depths(self._broker.client(), self._broker.queues, self._broker.prefix)

    def _queues(self, findings: Sequence[Finding], now: datetime) -> Iterator[Finding]:
        try:
            depths = self.depths()
            states = self._limiter.state(self._limits)
            breakers = self._breakers.all()
        except (RedisError, OSError, LimiterUnavailable, GatesUnavailable) as error:
            yield Finding.of(Kind.REDIS_AWAY, 1, f"Redis does not answer: {type(error).__name__}")
            return
        with self._database.read() as connection:
            due = {
                "transactional": view_queries.queued_transactional(connection),
                "bulk": self._rules.chains(connection),
                "events": queries.planning_count(connection),
                "maintenance": len(untidy(connection, now)),
            }
        yield from outside.unread(depths, due)
        yield from outside.doorbells_lost(depths, {one.kind for one in findings})
        yield from outside.closed_limits(states)
        yield from outside.open_breakers(breakers)
