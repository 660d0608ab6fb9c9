"""Promise 6, as granted: never above the limit in any window, whatever is asked when."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from worker.delivery.throttling import Grant, InMemoryLimiter, Limit, Limiter, RedisLimiter
from worker.domain.clock import FakeClock


@dataclass(frozen=True)
class Request:
    """Ask after a pause; what is not used comes back after some more requests."""

    pause_us: int
    wanted: int
    urgent: bool
    unused: int
    back_after: int


PAUSES = st.one_of(st.integers(0, 2_000), st.integers(0, 60_000), st.integers(0, 3_000_000))
REQUESTS = st.builds(
    Request, PAUSES, st.integers(1, 60), st.booleans(), st.sampled_from([0, 0, 0, 1, 5, 60]), st.integers(0, 5)
)
COUNTS = st.sampled_from([0.3, 0.5, 1.0, 1.9, 2.0, 3.0, 10.0, 50.0, 500.0, 5000.0])
LIMITS = st.tuples(COUNTS, st.sampled_from([0.2, 1.0, 2.0, 60.0]))

_numbers = count()


def most_in_a_window(grants: list[tuple[int, int]], window_us: int) -> int:
    """The most tokens in any half-open window, of grants as (time, tokens) in order."""
    inside: deque[tuple[int, int]] = deque()
    now = most = 0
    for at, tokens in grants:
        inside.append((at, tokens))
        now += tokens
        while inside[0][0] <= at - window_us:
            now -= inside.popleft()[1]
        most = max(most, now)
    return most


def play(make: Callable[[FakeClock], Limiter], limits: list[Limit], requests: list[Request]) -> list[Grant]:
    """Ask all; check every limit's windows by what was used in the end."""
    clock = FakeClock()
    limiter = make(clock)
    grants: list[Grant] = []
    used: list[tuple[int, int]] = []
    returning: list[tuple[int, Grant, int]] = []
    for turn, request in enumerate(requests):
        clock.advance(microseconds=request.pause_us)
        grant = limiter.take(limits, request.wanted, urgent=request.urgent)
        unused = min(grant.tokens, request.unused)
        grants.append(grant)
        used.append((int(clock.ticks() * 1e6), grant.tokens - unused))
        returning.append((turn + request.back_after, grant, unused))
        for _, back, tokens in [one for one in returning if one[0] <= turn and one[2]]:
            limiter.give_back(limits, back, tokens)
        returning = [one for one in returning if one[0] > turn]
    for limit in limits:
        # the nearest whole numbers: at most 1 in the time of one, where less than one is allowed
        seconds = limit.per_seconds if limit.count >= 1 else limit.per_seconds / limit.count
        assert most_in_a_window(used, int(seconds * 1e6)) <= max(1, int(limit.count))
    return grants


def many(number: int) -> Callable[..., settings]:
    return settings(
        max_examples=number, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )


def named(figures: list[tuple[float, float]]) -> list[Limit]:
    run = next(_numbers)
    return [Limit(f"run{run}:{at}", count, seconds) for at, (count, seconds) in enumerate(figures)]


@many(300)
@given(st.lists(LIMITS, min_size=1, max_size=3), st.lists(REQUESTS, max_size=150))
def test_never_above_a_limit_in_memory(figures: list[tuple[float, float]], requests: list[Request]) -> None:
    play(InMemoryLimiter, named(figures), requests)


@many(100)
@given(figures=st.lists(LIMITS, min_size=1, max_size=3), requests=st.lists(REQUESTS, max_size=80))
def test_never_above_a_limit_in_redis_and_both_decide_the_same(
    redis_client: Redis, figures: list[tuple[float, float]], requests: list[Request]
) -> None:
    def shared(clock: FakeClock) -> Limiter:
        return RedisLimiter(redis_client, now=lambda: int(clock.ticks() * 1e6))

    limits = named(figures)
    assert play(shared, limits, requests) == play(InMemoryLimiter, limits, requests)


@pytest.mark.parametrize("urgent", [False, True])
def test_a_thousand_greedy_askers_in_one_moment_get_one_window_at_most(urgent: bool) -> None:
    clock = FakeClock()
    limiter = InMemoryLimiter(clock)
    limit = Limit("a", 500, 1)
    granted = 0
    for _ in range(1000):
        granted += limiter.take([limit], 100, urgent=urgent).tokens
        clock.advance(microseconds=999)
    assert granted <= 500
