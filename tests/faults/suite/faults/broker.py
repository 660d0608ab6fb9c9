"""Redis: killed, emptied, out of memory, slow, cut off, replaced."""

from __future__ import annotations

import random
import shutil
import signal

from tests.faults.suite.bed import Bed, another_redis
from tests.faults.suite.faults.table import fault


@fault("redis-killed")
def killed(bed: Bed, rng: random.Random) -> str:
    seconds = rng.uniform(0.2, 3.0)
    server = bed.spare or bed.redis
    server.stop(signal.SIGKILL)
    bed.pause(seconds)
    server.start()
    return f"Redis killed, back with its file after {seconds:.1f} s"


@fault("redis-killed-without-file")
def without_file(bed: Bed, rng: random.Random) -> str:
    seconds = rng.uniform(0.2, 3.0)
    server = bed.spare or bed.redis
    server.stop(signal.SIGKILL)
    for folder in server.folder.rglob("appendonlydir"):
        shutil.rmtree(folder)
    bed.pause(seconds)
    server.start()
    return f"Redis killed, back without its file after {seconds:.1f} s"


@fault("redis-emptied")
def emptied(bed: Bed, _rng: random.Random) -> str:
    with bed.redis_client() as client:
        client.flushall()
    return "FLUSHALL"


@fault("redis-full")
def full(bed: Bed, rng: random.Random) -> str:
    """It answers each write with OOM."""
    seconds = rng.uniform(2.0, 5.0)
    with bed.redis_client() as client:
        client.config_set("maxmemory", "1")
        try:
            bed.pause(seconds)
        finally:
            client.config_set("maxmemory", "0")
    return f"Redis out of memory for {seconds:.1f} s"


@fault("redis-frozen")
def frozen(bed: Bed, rng: random.Random) -> str:
    seconds = rng.uniform(2.5, 5.0)
    server = bed.spare or bed.redis
    server.freeze()
    bed.pause(seconds)
    server.thaw()
    return f"Redis frozen for {seconds:.1f} s"


@fault("redis-slow")
def slow(bed: Bed, rng: random.Random) -> str:
    seconds, delay = rng.uniform(3.0, 6.0), rng.uniform(0.05, 0.3)
    bed.line.delay = delay
    bed.pause(seconds)
    bed.line.delay = 0.0
    return f"each answer of Redis {2 * delay:.2f} s late for {seconds:.1f} s"


@fault("redis-stalled")
def stalled(bed: Bed, rng: random.Random) -> str:
    """A line on which nothing arrives and nobody is told: a firewall that forgot it."""
    seconds = rng.uniform(3.0, 7.0)
    bed.line.stall()
    bed.pause(seconds)
    bed.line.go_on()
    return f"nothing to or from Redis for {seconds:.1f} s"


@fault("redis-cut")
def cut(bed: Bed, rng: random.Random) -> str:
    times = rng.randint(1, 4)
    for _ in range(times):
        bed.line.cut()
        bed.pause(0.5)
    return f"all connections to Redis cut, {times} times"


@fault("redis-failover")
def failover(bed: Bed, _rng: random.Random) -> str:
    """A new master that knows nothing, and the old one gone."""
    old, bed.spare = bed.spare, another_redis()
    bed.line.lead_to(bed.spare.port)
    (old or bed.redis).stop(signal.SIGKILL)
    if old is not None:
        shutil.rmtree(old.folder, ignore_errors=True)
    return "another Redis, empty, took over"
