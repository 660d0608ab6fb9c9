"""Rate limits over real processes and a real Redis: `python -m benchmarks.throttling [--help]`.

Each process asks for tokens, spends some ms as a claim does, and asks again; the times are those of Redis.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import time
from collections import deque
from pathlib import Path
from subprocess import Popen
from tempfile import TemporaryDirectory

from redis import Redis

from worker.delivery.throttling import Limit, RedisLimiter
from worker.embedded import redis_command, wait_for_redis

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


def run(url: str, limit: Limit, seconds: float, processes: int) -> None:
    with multiprocessing.Pool(processes + 1) as pool:
        pending = [pool.apply_async(bulk, (url, limit, seconds)) for _ in range(processes)]
        pending.append(pool.apply_async(urgent, (url, limit, seconds)))
        reports = [one.get() for one in pending]
    grants = [grant for report in reports for grant in report[0]]
    waits = sorted(reports[-1][1])
    span = (max(at for at, _ in grants) - min(at for at, _ in grants)) / 1e6
    total = sum(tokens for _, tokens in grants)
    calls = sum(report[3] for report in reports)
    print(f"{processes} processes, {limit.count:g} in {limit.per_seconds:g} s, {span:.1f} s:")
    print(f"  granted {total}, {total / span * limit.per_seconds / limit.count:.1%} of the limit")
    print(f"  most in a window: {most_in_a_window(grants, int(limit.per_seconds * 1e6))}")
    print(f"  {calls / span:.0f} calls/s, {sum(report[2] for report in reports) / calls * 1e6:.0f} µs each")
    p50, p99 = (waits[int(len(waits) * part)] * 1000 for part in (0.5, 0.99))
    print(f"  urgent: {len(waits)}, p50 {p50:.1f} ms, p99 {p99:.1f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--count", type=float, default=500)
    parser.add_argument("--seconds", type=float, default=20, help="how long to run")
    options = parser.parse_args()
    with TemporaryDirectory(prefix="pr-bench-") as folder:
        socket = Path(folder) / "r.sock"
        server = Popen(redis_command(Path(folder), socket))
        try:
            wait_for_redis(f"unix://{socket}", 10)
            run(f"unix://{socket}", Limit("overall", options.count, 1), options.seconds, options.processes)
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
