"""The rate limiter alone, over real processes and a real Redis (part `limit`).

Each process asks for tokens, spends some ms as a claim does, and asks again; the times are those of Redis.
"""

from __future__ import annotations

import multiprocessing
import random
import signal
import time
from collections import deque

from redis import Redis

from worker.delivery.throttling import Limit, RedisLimiter

# grants as (time in µs, tokens); urgent waits in s; time spent in calls in s; number of calls
Report = tuple[list[tuple[int, int]], list[float], float, int]


def bulk(url: str, limit: Limit, seconds: float) -> Report:
    limiter = RedisLimiter(Redis.from_url(url))
    grants: list[tuple[int, int]] = []
    spent, calls, until = 0.0, 0, time.monotonic() + seconds
    while (start := time.monotonic()) < until:
        grant = limiter.take([limit], 40)
        spent, calls = spent + time.monotonic() - start, calls + 1
        if grant.tokens:
            grants.append((grant.at, grant.tokens))
        time.sleep(random.uniform(0.002, 0.008) if grant.tokens else grant.wait)
    return grants, [], spent, calls


def urgent(url: str, limit: Limit, seconds: float) -> Report:
    limiter = RedisLimiter(Redis.from_url(url))
    grants: list[tuple[int, int]] = []
    waits: list[float] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(random.expovariate(20))
        start = time.monotonic()
        while not (grant := limiter.take([limit], 1, urgent=True)).tokens:
            time.sleep(grant.wait)
        waits.append(time.monotonic() - start)
        grants.append((grant.at, 1))
    return grants, waits, 0.0, 0


def most_in_a_window(grants: list[tuple[int, int]], window: int) -> int:
    inside: deque[tuple[int, int]] = deque()
    now = most = 0
    for at, tokens in sorted(grants):
        inside.append((at, tokens))
        now += tokens
        while inside[0][0] <= at - window:
            now -= inside.popleft()[1]
        most = max(most, now)
    return most


def measure(url: str, limit: Limit, seconds: float, processes: int) -> dict[str, float]:
    """Tokens a second and the fullest window; calls a second and µs each; the waits of urgent ones in ms."""
    # ended by SIGTERM as ever: our own answer to it, which they inherit, would leave the pool's locks held
    with multiprocessing.Pool(processes + 1, signal.signal, (signal.SIGTERM, signal.SIG_DFL)) as pool:
        pending = [pool.apply_async(bulk, (url, limit, seconds)) for _ in range(processes)]
        pending.append(pool.apply_async(urgent, (url, limit, seconds)))
        reports = [one.get() for one in pending]
    grants = [grant for report in reports for grant in report[0]]
    waits = sorted(reports[-1][1])
    span = (max(at for at, _ in grants) - min(at for at, _ in grants)) / 1e6
    calls = sum(report[3] for report in reports)
    return {
        "average": round(sum(tokens for _, tokens in grants) / span, 1),
        "fullest": most_in_a_window(grants, int(limit.per_seconds * 1e6)),
        "calls_per_second": round(calls / span), "us_per_call": round(sum(one[2] for one in reports) / calls * 1e6),
        "urgent_p50_ms": round(waits[len(waits) // 2] * 1000, 1),
        "urgent_p99_ms": round(waits[int(len(waits) * 0.99)] * 1000, 1),
    }  # fmt: skip
