"""What processes measure, added up in a real Redis and read as Prometheus would."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from worker.metrics import Meters, read_meters


class _Families:
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        return self._families


def scrape(client: Redis) -> list[str]:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(list(read_meters(client))))
    return generate_latest(registry).decode().splitlines()


def test_processes_add_up(redis_client: Redis) -> None:
    for _ in range(2):
        meters = Meters(lambda: redis_client)
        meters.inc("limit_wait_seconds", {"limit": "overall"}, 1.5)
        meters.inc("sweep_findings", {"kind": 'a "quoted" kind'})
        meters.observe("send_seconds", {"lane": "bulk"}, [0.0005, 0.3, 1000.0])
        meters.flush()
    lines = scrape(redis_client)
    assert 'pressrun_limit_wait_seconds_total{limit="overall"} 3.0' in lines
    assert 'pressrun_sweep_findings_total{kind="a \\"quoted\\" kind"} 2.0' in lines
    assert 'pressrun_send_seconds_bucket{lane="bulk",le="0.001"} 2.0' in lines
    assert 'pressrun_send_seconds_bucket{lane="bulk",le="0.25"} 2.0' in lines
    assert 'pressrun_send_seconds_bucket{lane="bulk",le="0.5"} 4.0' in lines
    assert 'pressrun_send_seconds_bucket{lane="bulk",le="+Inf"} 6.0' in lines
    assert 'pressrun_send_seconds_count{lane="bulk"} 6.0' in lines
    assert 'pressrun_send_seconds_sum{lane="bulk"} 2000.601' in lines


def test_nothing_measured_is_no_line(redis_client: Redis) -> None:
    assert not [line for line in scrape(redis_client) if not line.startswith("#")]


def test_figures_wait_for_a_redis_that_is_away(redis_client: Redis) -> None:
    away = Redis(host="127.0.0.1", port=1, retry=Retry(NoBackoff(), 0))
    clients = [away, redis_client]
    meters = Meters(lambda: clients[0])
    meters.inc("sweep_findings", {"kind": "expired"}, 3)
    meters.flush()
    clients.pop(0)
    meters.inc("sweep_findings", {"kind": "expired"}, 4)
    meters.flush()
    assert 'pressrun_sweep_findings_total{kind="expired"} 7.0' in scrape(redis_client)
    away.close()
