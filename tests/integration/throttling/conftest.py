"""The same tests over both limiters, on a clock that the test moves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis

from worker.delivery.throttling import InMemoryLimiter, Limiter, RedisLimiter
from worker.domain.clock import FakeClock


@pytest.fixture(params=["memory", "redis"])
def limiter(request: pytest.FixtureRequest, clock: FakeClock) -> Iterator[Limiter]:
    if request.param == "memory":
        yield InMemoryLimiter(clock)
        return
    with Redis.from_url(request.getfixturevalue("redis_url")) as client:
        yield RedisLimiter(client, now=lambda: int(clock.ticks() * 1e6))
