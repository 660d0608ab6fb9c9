"""The same tests over both keepers, on a clock that the test moves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis

from worker.delivery.gates import (
    BreakerStore,
    InMemoryBreakers,
    InMemoryLeases,
    Leases,
    RedisBreakers,
    RedisLeases,
)
from worker.domain.clock import FakeClock


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest, clock: FakeClock) -> Iterator[BreakerStore]:
    if request.param == "memory":
        yield InMemoryBreakers(clock)
        return
    with Redis.from_url(request.getfixturevalue("redis_url")) as client:
        yield RedisBreakers(client, now=clock.ticks)


@pytest.fixture(params=["memory", "redis"])
def leases(request: pytest.FixtureRequest, clock: FakeClock) -> Iterator[Leases]:
    if request.param == "memory":
        yield InMemoryLeases(clock)
        return
    with Redis.from_url(request.getfixturevalue("redis_url")) as client:
        yield RedisLeases(client, now=clock.ticks)
