"""The rate limits in force, as `pressrun status` shows them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from worker.delivery.gates import GatesUnavailable, RedisBreakers, breaker_object
from worker.delivery.throttling import Limit, LimiterUnavailable, RedisLimiter, Shaping
from worker.domain.errors import ConfigurationError
from worker.settings import Settings


def _redis(settings: Settings) -> redis.Redis:
    """Asked once: the library's own retries would make a look at a Redis that is away take seconds."""
    return redis.Redis.from_url(
        settings.redis, socket_timeout=2, socket_connect_timeout=2, retry=Retry(NoBackoff(), 0)
    )


def limit_lines(settings: Settings) -> Iterator[str]:
    """One line for each limit that is used or closed now, and one for what Redis says of itself."""
    limits = list(_limits(settings))
    if not limits:
        yield "No rate limit is set."
        return
    client = _redis(settings)
    try:
        states = RedisLimiter(client).state([limit.name for limit in limits])
    except LimiterUnavailable as error:
        yield f"No mail goes out under a limit meanwhile: {error}"
        return
    finally:
        client.close()
    for limit, state in zip(limits, states, strict=True):
        line = f"limit {limit.name}: {limit.count:g} in {limit.per_seconds:g} s"
        if state.closed_for > 0:
            yield f"{line}, closed for {state.closed_for:.0f} s: {state.why}"
        elif state.used or not limit.name.startswith("destination:"):
            yield f"{line}, {state.used} granted in the running window"


def breakers(settings: Settings) -> list[dict[str, Any]] | None:
    """`[{"name", "state", "opens_in_s", "failures", "window", "why"}]`, those that are not whole; None where Redis
    does not answer.
    """
    client = _redis(settings)
    try:
        found = RedisBreakers(client).all()
    except GatesUnavailable:
        return None
    finally:
        client.close()
    return [breaker_object(name, one) for name, one in sorted(found.items()) if one.failures]


def _limits(settings: Settings) -> Iterator[Limit]:
    if settings.limit_per_second is not None:
        yield Limit("overall", settings.limit_per_second, 1.0)
    if settings.transport_limit_per_second is not None:
        yield Limit("transport:smtp", settings.transport_limit_per_second, 1.0)
    try:
        shaping = Shaping.load(settings.config_dir / "shaping.toml")
    except ConfigurationError:
        return
    yield from (group.limit for group in shaping.groups if group.limit is not None)
