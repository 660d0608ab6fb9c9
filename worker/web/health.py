"""Is it alive, can it work, and what does it do: for load balancers, operators and Prometheus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import redis
import structlog
from fastapi import APIRouter, Depends
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from starlette.responses import Response

from worker.audit.looks import quick, sweep_age
from worker.campaigns.progress import queue_view
from worker.delivery.gates import RedisBreakers, breaker_object
from worker.delivery.view_queries import totals
from worker.delivery.warmup_glance_queries import warmups
from worker.domain.errors import ConfigurationError, FieldProblem, TemporaryError
from worker.metrics import read_meters
from worker.storage.glance import through
from worker.storage.migrate import require_current
from worker.web.access import require_scraper
from worker.web.gauges import audited, broker_metrics, reputation
from worker.web.problems import RETRY_AFTER_SECONDS, documented, problem

if TYPE_CHECKING:
    from worker.bootstrap import System

log = structlog.get_logger(__name__)

_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def health_router(system: System) -> APIRouter:
    router = APIRouter(tags=["operation"])

    @router.get("/healthz", summary="This process answers")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @router.get("/readyz", summary="All parts can be reached", response_model=dict[str, str], responses=documented(503))
    def readyz() -> Response | dict[str, str]:
        """`errors` of a 503 names each part that is down."""
        down = list(_down(system))
        if down:
            detail = "; ".join(map(str, down))
            return problem(503, detail, down, {"Retry-After": str(RETRY_AFTER_SECONDS)})
        return {"status": "ok", "database": "ok", "redis": "ok"}

    @router.get(
        "/metrics", summary="Prometheus", response_class=Response, dependencies=[Depends(require_scraper(system))],
        responses=documented(401),
    )  # fmt: skip
    def metrics() -> Response:
        """Counts come from counters; no look at them counts deliveries, and none tells of a reader.

        For this host, or with `PRESSRUN_METRICS_TOKEN` as bearer token.
        """
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Collector(system))
        return Response(generate_latest(registry), headers={"Content-Type": _METRICS_TYPE})

    return router


def _down(system: System) -> Iterator[FieldProblem]:
    try:
        require_current(system.database)
    except ConfigurationError as error:
        yield FieldProblem("database", str(error))
    except TemporaryError as error:
        # its message names hosts and paths, which stay in the log
        log.warning("not ready", part="database", error=str(error))
        yield FieldProblem("database", "cannot be reached")
    try:
        system.redis.ping()
    except (redis.RedisError, OSError) as error:
        log.warning("not ready", part="redis", error=str(error))
        yield FieldProblem("redis", "cannot be reached; events are still taken, and sent when it is back")


class _Collector:
    """Read at the moment of the scrape. A part that is down is said to be, and the rest is still told."""

    def __init__(self, system: System) -> None:
        self._system = system

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("pressrun_up", "Whether a part can be reached.", labels=["part"])
        for part, families in (("database", self._database), ("redis", self._redis)):
            try:
                found = list(families())
            except (TemporaryError, redis.RedisError, OSError) as error:
                log.warning("metrics are incomplete", part=part, error=str(error))
                up.add_metric([part], 0)
            else:
                up.add_metric([part], 1)
                yield from found
        yield up

    def _database(self) -> Iterator[Metric]:
        now = self._system.clock.now()
        with self._system.database.read() as connection:
            counted = totals(connection)
            lanes = queue_view(connection, now)
            findings, age = list(quick(connection, self._system.audit_rules, now)), sweep_age(connection, now)
            warming = warmups(through(connection), self._system.warmups, now)
        labels = ["publication", "kind", "status", "reason"]
        deliveries = GaugeMetricFamily("pressrun_deliveries", "Deliveries by where they stand now.", labels=labels)
        for row in counted:
            deliveries.add_metric([row.publication, row.kind, row.status, row.reason], row.n)
        yield deliveries
        depth = GaugeMetricFamily("pressrun_queue_depth", "Deliveries waiting to be sent.", labels=["lane"])
        oldest = GaugeMetricFamily("pressrun_queue_oldest_seconds", "Age of the one waiting longest.", labels=["lane"])
        for lane, seen in lanes.items():
            depth.add_metric([lane], seen["depth"])
            oldest.add_metric([lane], seen["oldest_s"])
        yield from (depth, oldest, *_warmup_metrics(warming))
        yield from (*reputation(self._system.publications, counted), *audited(findings, age))

    def _redis(self) -> Iterator[Metric]:
        yield from read_meters(self._system.redis)
        yield from broker_metrics(self._system.audit.depths(), self._system.limiter, self._system.limits.names)
        yield from self._breakers()

    def _breakers(self) -> Iterator[Metric]:
        labels = ["breaker", "state"]
        words = "Until a destination that throttled is tried again."
        opens = GaugeMetricFamily("pressrun_breaker_opens_in_seconds", words, labels=labels)
        words = "Pauses in a row of a destination that throttles."
        failures = GaugeMetricFamily("pressrun_breaker_failures", words, labels=labels)
        for name, breaker in RedisBreakers(self._system.redis).all().items():
            if breaker.failures:
                seen = breaker_object(name, breaker)
                opens.add_metric([name, seen["state"]], seen["opens_in_s"])
                failures.add_metric([name, seen["state"]], seen["failures"])
        yield from (opens, failures)


def _warmup_metrics(warming: Sequence[Mapping[str, Any]]) -> Iterator[Metric]:
    for key, words in (
        ("used", "Mails of today of a sending domain that warms up."),
        ("allowance", "Mails that may be."),
        ("waiting", "Bulk mails that wait for later days."),
    ):
        family = GaugeMetricFamily(f"pressrun_warmup_{key}", words, labels=["domain"])
        for one in warming:
            family.add_metric([one["domain"]], one[key])
        yield family
