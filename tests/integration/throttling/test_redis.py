"""What only the limiter in Redis can show: it is shared, runs on Redis' clock, leaks nothing, and fails quickly."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.servers import running_redis
from worker.delivery.throttling import Grant, Limit, LimiterUnavailable, RedisLimiter

OVERALL = Limit("overall", 200, 1)


@contextmanager
def impatient(url: str) -> Iterator[Redis]:
    with Redis.from_url(url, socket_timeout=0.2, socket_connect_timeout=0.2, retry=Retry(NoBackoff(), 0)) as client:
        yield client


def test_all_askers_together_stay_below_the_limit(redis_url: str) -> None:
    """Six greedy threads with a connection each; the times are those of Redis."""
    grants: list[Grant] = []

    def ask() -> None:
        with Redis.from_url(redis_url) as client:
            limiter = RedisLimiter(client)
            for _ in range(150):
                grant = limiter.take([OVERALL], 10)
                if grant.tokens:
                    grants.append(grant)
                else:
                    waiting.wait(min(grant.wait, 0.02))

    waiting = threading.Event()
    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    grants.sort(key=lambda grant: grant.at)
    windows = [
        sum(other.tokens for other in grants if grant.at <= other.at < grant.at + 1_000_000) for grant in grants
    ]
    assert 0 < max(windows) <= 200


def test_time_is_that_of_redis(redis_client: Redis) -> None:
    before = redis_client.time()
    at = RedisLimiter(redis_client).take([OVERALL], 1).at
    after = redis_client.time()
    assert before[0] * 1_000_000 + before[1] <= at <= after[0] * 1_000_000 + after[1]


def test_every_key_has_its_prefix_and_an_end(redis_client: Redis) -> None:
    limiter = RedisLimiter(redis_client)
    limiter.take([OVERALL, Limit("destination:a", 10, 60)], 5)
    limiter.take([OVERALL], 1, urgent=True)
    limiter.pause("destination:a", 5, "why")
    keys = redis_client.keys("*")
    assert sorted(keys) == [
        "pressrun:closed:destination:a",
        "pressrun:granted:destination:a",
        "pressrun:granted:overall",
        "pressrun:rate:destination:a",
        "pressrun:rate:overall",
    ]
    assert all(0 < redis_client.pttl(key) < 200_000 for key in keys)


def test_the_log_stays_short(redis_client: Redis) -> None:
    now = 10**15
    limiter = RedisLimiter(redis_client, now=lambda: now)
    limit = Limit("a", 10_000, 1)
    for _ in range(2000):
        limiter.take([limit], 3)
        now += 1000
    assert 0 < redis_client.llen("pressrun:granted:a") <= 210


def test_a_log_that_somebody_deleted_does_not_close_the_limit(redis_client: Redis) -> None:
    limiter = RedisLimiter(redis_client)
    limit = Limit("a", 1, 3600)
    limiter.take([limit], 1)
    redis_client.delete("pressrun:granted:a", "pressrun:rate:a")
    assert limiter.take([limit], 1).tokens == 1


def test_a_pause_ends(redis_client: Redis) -> None:
    limiter = RedisLimiter(redis_client)
    limiter.pause("overall", 0.05, "421")
    while (refused := limiter.take([OVERALL], 1)).tokens == 0:
        assert 0 < refused.wait <= 0.05
    assert limiter.state(["overall"])[0].why == ""


def test_without_a_limit_redis_is_not_asked() -> None:
    with impatient("redis://127.0.0.1:1/0") as client:
        limiter = RedisLimiter(client)
        assert limiter.take([], 7).tokens == 7
        limiter.give_back([], Grant(7), 7)


def test_a_frozen_or_dead_redis_grants_nothing_and_says_so() -> None:
    with running_redis() as server, impatient(server.url) as client:
        limiter = RedisLimiter(client)
        assert limiter.take([OVERALL], 1).tokens == 1
        server.freeze()
        for call in (
            lambda: limiter.take([OVERALL], 1),
            lambda: limiter.take_each([([OVERALL], 1), ([OVERALL], 1)]),
            lambda: limiter.pause("overall", 1, "why"),
            lambda: limiter.state(["overall"]),
            lambda: limiter.give_back([OVERALL], Grant(1, at=10**16), 1),
        ):
            with pytest.raises(LimiterUnavailable, match="Redis does not answer"):
                call()
        server.thaw()
        assert limiter.take([OVERALL], 1).tokens == 1
        server.stop()
        with pytest.raises(LimiterUnavailable):
            limiter.take([OVERALL], 1)
        server.start()
        assert limiter.take([OVERALL], 1).tokens == 1


def test_a_redis_that_lost_the_script_answers_all_the_same(redis_client: Redis) -> None:
    limiter = RedisLimiter(redis_client, now=lambda: 10**12)
    limits = [(Limit(f"destination:{name}", 10, 1.0),) for name in ("a", "b")]
    redis_client.script_flush()
    assert [one.tokens for one in limiter.take_each([(one, 1) for one in limits])] == [1, 1]
    assert [one.tokens for one in limiter.take_each([(one, 1) for one in limits])] == [0, 0]


def test_a_full_redis_grants_nothing_and_says_so(redis_client: Redis) -> None:
    limiter = RedisLimiter(redis_client)
    requests = [((Limit(f"destination:{name}", 10, 1.0),), 1) for name in ("a", "b")]
    assert len(limiter.take_each(requests)) == 2
    redis_client.config_set("maxmemory", 1)
    try:
        with pytest.raises(LimiterUnavailable, match="used memory"):
            limiter.take_each(requests)
    finally:
        redis_client.config_set("maxmemory", 0)
