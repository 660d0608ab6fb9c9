"""What worker processes measure, added up in Redis, so that one scrape of the API tells of all of them.

Each process keeps its own sums and adds them to one hash at most once a second. What cannot be written then
is kept for the next time, and lost with the process: these are figures for graphs, the ledger keeps the truth.
"""

from __future__ import annotations

import json
import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache

import redis
import structlog
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

log = structlog.get_logger(__name__)

KEY = "pressrun:meters"
FLUSH_SECONDS = 1.0
# After a failure: a frozen Redis holds a flush up for its time-out, and senders must not stand still for figures.
RETRY_SECONDS = 30.0

COUNTERS = {
    "limit_wait_seconds": ("Seconds spent waiting for a rate limit.", ("limit",)),
    "sweep_findings": ("What sweeps have found and dealt with.", ("kind",)),
    "unknown_outcomes": ("Conversations cut between the body and its answer.", ("lane",)),
}
HISTOGRAMS = {
    "send_seconds": ("One SMTP conversation, from MAIL FROM to its last reply.", ("lane",)),
}
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)

Labels = Mapping[str, str]


class Meters:
    """Safe from any thread. `connect` gives the Redis to add to; nothing is connected before the first flush."""

    def __init__(self, connect: Callable[[], redis.Redis]) -> None:
        self._connect = connect
        self._sums: dict[str, float] = {}
        self._lock = threading.Lock()
        self._flushed = time.monotonic()

    def inc(self, name: str, labels: Labels, value: float = 1.0) -> None:
        """Add to a counter of `COUNTERS`."""
        self._add({_field(name, labels): value})

    def observe(self, name: str, labels: Labels, values: Sequence[float]) -> None:
        """Add observations to a histogram of `HISTOGRAMS`."""
        buckets = Counter(bisect_left(BOUNDS, value) for value in values)
        sums = {_field(name, labels, f"bucket{bucket}"): float(n) for bucket, n in buckets.items()}
        self._add({**sums, _field(name, labels, "sum"): sum(values)})

    def flush(self) -> None:
        """Add what has gathered to the shared sums. A Redis that is away costs nothing but a line in the log."""
        with self._lock:
            sums, self._sums = self._sums, {}
            self._flushed = time.monotonic()
        if not sums:
            return
        try:
            with self._connect().pipeline(transaction=False) as pipe:
                for field, value in sums.items():
                    pipe.hincrbyfloat(KEY, field, value)
                pipe.execute()
        except (redis.RedisError, OSError) as error:
            log.debug("meters_wait", error=type(error).__name__)
            with self._lock:
                self._gather(sums)
                self._flushed = time.monotonic() + RETRY_SECONDS - FLUSH_SECONDS

    def _gather(self, values: Mapping[str, float]) -> None:
        for field, value in values.items():
            self._sums[field] = self._sums.get(field, 0.0) + value

    def _add(self, values: Mapping[str, float]) -> None:
        with self._lock:
            self._gather(values)
            due = time.monotonic() - self._flushed >= FLUSH_SECONDS
        if due:
            self.flush()


def read_meters(connection: redis.Redis) -> Iterator[Metric]:
    """The shared sums as Prometheus families, all named `pressrun_…`."""
    found: dict[tuple[str, str, str], float] = {}
    for field, kept in dict(connection.hgetall(KEY)).items():
        name, labels, part = json.loads(field)
        found[(name, json.dumps(labels), part)] = float(kept)
    for name, (words, order) in COUNTERS.items():
        counter = CounterMetricFamily(f"pressrun_{name}", words, labels=order)
        for (one, values, _), value in found.items():
            if one == name:
                counter.add_metric(json.loads(values), value)
        yield counter
    for name, (words, order) in HISTOGRAMS.items():
        yield _histogram(name, words, order, found)


def _histogram(
    name: str, words: str, labels: tuple[str, ...], found: Mapping[tuple[str, str, str], float]
) -> HistogramMetricFamily:
    family = HistogramMetricFamily(f"pressrun_{name}", words, labels=labels)
    for values in sorted({values for one, values, _ in found if one == name}):
        total = 0.0
        buckets = []
        for number, bound in enumerate([*map(str, BOUNDS), "+Inf"]):
            total += found.get((name, values, f"bucket{number}"), 0.0)
            buckets.append((bound, total))
        family.add_metric(json.loads(values), buckets, found.get((name, values, "sum"), 0.0))
    return family


def _field(name: str, labels: Labels, part: str = "") -> str:
    return _spelled(name, tuple(labels.items()), part)


# there are few of them, and some are asked for with every set of mails
@lru_cache(maxsize=1024)
def _spelled(name: str, labels: tuple[tuple[str, str], ...], part: str) -> str:
    _, order = {**COUNTERS, **HISTOGRAMS}[name]
    values = dict(labels)
    return json.dumps([name, [values[one] for one in order], part])
