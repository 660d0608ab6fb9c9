"""What alerts go by (`config/prometheus-alerts.yml`): each family is there from the first scrape on, with its zeros."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client.core import GaugeMetricFamily, Metric

from worker.audit.findings import QUICK, Finding
from worker.delivery.throttling import Limiter
from worker.domain.delivery import DeliveryStatus

_S = DeliveryStatus
_HANDED_OVER = frozenset({_S.SENT, _S.DELIVERED, _S.BOUNCED, _S.COMPLAINED})


def audited(findings: Sequence[Finding], age: float) -> Iterator[Metric]:
    """What `pressrun audit --quick` finds in the ledger, and the sweep's heartbeat."""
    found = Counter(dict.fromkeys(QUICK, 0))
    for one in findings:
        found[one.kind] += one.n
    family = GaugeMetricFamily(
        "pressrun_audit_findings", "What stands still that should not; `pressrun audit` says it in words.",
        labels=["kind"],
    )  # fmt: skip
    for kind, n in found.items():
        family.add_metric([kind], n)
    yield family
    yield GaugeMetricFamily("pressrun_sweep_age_seconds", "Since the last sweep was through.", value=age)


def reputation(publications: Collection[str], counted: Sequence[Any]) -> Iterator[Metric]:
    """By publication, what mailbox providers judge a sender by. `counted`: (publication, kind, status, reason, n)."""
    families = (
        ("pressrun_handed_over", "Deliveries that a server took or refused for their address.", _HANDED_OVER),
        ("pressrun_bounced", "Deliveries refused for their address, at once or later.", frozenset({_S.BOUNCED})),
        ("pressrun_complained", "Deliveries that a reader called spam.", frozenset({_S.COMPLAINED})),
    )
    for name, words, statuses in families:
        sums: Counter[str] = Counter(dict.fromkeys(publications, 0))
        for row in counted:
            if row.status in statuses:
                sums[row.publication] += int(row.n)
        yield _by_label(name, words, "publication", sums)


def broker_metrics(depths: Mapping[str, int], limiter: Limiter, limits: Sequence[str]) -> Iterator[Metric]:
    """Celery's queues, and for how long each limit is closed. Raises `RedisError`, `LimiterUnavailable`."""
    yield _by_label("pressrun_broker_queue_depth", "Tasks that wait in a queue of the broker.", "queue", depths)
    closed = {one.name: one.closed_for for one in limiter.state(limits)} if limits else {}
    yield _by_label("pressrun_limit_closed_seconds", "For how long a limit stays closed.", "limit", closed)


def _by_label(name: str, words: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, words, labels=[label])
    for value, n in sorted(values.items()):
        family.add_metric([value], n)
    return family
