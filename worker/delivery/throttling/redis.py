"""The limiter that all workers share: one Lua script in Redis, on Redis' own clock."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import compress
from pathlib import Path
from typing import Any, Literal, cast

from redis import Redis
from redis.exceptions import NoScriptError, RedisError

from worker.delivery.throttling.base import HOLD_SECONDS, Budget, Grant, Limit, LimiterUnavailable, LimitState

_SCRIPT = Path(__file__).with_name("throttle.lua")
_NO_RATE = ["0"] * 10


class RedisLimiter:
    """`urgent_share` is the part of each limit kept for urgent mail; the same in all processes.

    The client must have socket timeouts: without an answer nothing is granted, and a frozen Redis must not freeze
    the claiming thread. `now` replaces Redis' own clock (microseconds) and is for tests.
    """

    def __init__(self, client: Redis, *, urgent_share: float = 0.1, now: Callable[[], int] | None = None) -> None:
        self._redis = client
        self._script = client.register_script(_SCRIPT.read_text("utf-8"))
        self._share = urgent_share
        self._now = now

    def take(self, limits: Sequence[Limit], wanted: int, *, urgent: bool = False) -> Grant:
        if not limits or wanted <= 0:
            return Grant(max(0, wanted))
        return _grant(limits, self._call("take", limits, wanted, urgent, self._time()))

    def take_each(self, requests: Sequence[tuple[Sequence[Limit], int]]) -> list[Grant]:
        if len(requests) < 2:
            return [self.take(limits, wanted) for limits, wanted in requests]
        now = self._time()
        asked = [bool(limits) and wanted > 0 for limits, wanted in requests]
        with _translated(), self._redis.pipeline(transaction=False) as pipeline:
            for limits, wanted in compress(requests, asked):
                keys, arguments = self._asked("take", limits, wanted, False, now)
                pipeline.evalsha(self._script.sha, len(keys), *keys, *arguments)
            answers = iter(pipeline.execute(raise_on_error=False))
        return [
            self._granted(limits, wanted, next(answers)) if one else Grant(max(0, wanted))
            for (limits, wanted), one in zip(requests, asked, strict=True)
        ]

    def _granted(self, limits: Sequence[Limit], wanted: int, answer: object) -> Grant:
        """One answer of several."""
        if isinstance(answer, NoScriptError):
            # a Redis that was started anew; asked by itself, the script comes with the question
            return self.take(limits, wanted)
        with _translated():
            if isinstance(answer, Exception):
                raise answer
        return _grant(limits, answer)

    def give_back(self, limits: Sequence[Limit], grant: Grant, unused: int) -> None:
        if limits and unused > 0:
            self._call("give_back", limits, unused, False, grant.at)

    def pause(self, name: str, seconds: float, why: str) -> None:
        key = f"pressrun:closed:{name}"
        milliseconds = math.ceil(seconds * 1000)
        with _translated():
            # a shorter pause must not open what a longer one has closed
            if milliseconds > 0 and self._redis.pttl(key) < milliseconds:
                self._redis.set(key, why, px=milliseconds)

    def state(self, names: Sequence[str]) -> tuple[LimitState, ...]:
        with _translated(), self._redis.pipeline(transaction=False) as pipeline:
            pipeline.time()
            for name in names:
                pipeline.hget(f"pressrun:rate:{name}", "window")
                pipeline.lrange(f"pressrun:granted:{name}", 0, -1)
                pipeline.pttl(f"pressrun:closed:{name}")
                pipeline.get(f"pressrun:closed:{name}")
            (seconds, micros), *found = pipeline.execute()
        now = self._now() if self._now else seconds * 1_000_000 + micros
        return tuple(_state(name, now, *found[at * 4 : at * 4 + 4]) for at, name in enumerate(names))

    def _call(
        self, operation: str, limits: Sequence[Limit], tokens: int, urgent: bool, at: int | Literal[""]
    ) -> object:
        keys, arguments = self._asked(operation, limits, tokens, urgent, at)
        with _translated():
            return self._script(keys=keys, args=arguments)

    def _time(self) -> int | Literal[""]:
        """What the script is told of it: nothing but in tests."""
        return self._now() if self._now else ""

    def _asked(
        self, operation: str, limits: Sequence[Limit], tokens: int, urgent: bool, at: int | Literal[""]
    ) -> tuple[list[str], list[str | int | float]]:
        """The script's keys and arguments."""
        keys = [f"pressrun:{kind}:{limit.name}" for limit in limits for kind in ("rate", "granted", "closed")]
        arguments: list[str | int | float] = [operation, tokens, "1" if urgent else "", at, HOLD_SECONDS * 1e6]
        for limit in limits:
            arguments += _numbers(limit, self._share)
        return keys, arguments


def _grant(limits: Sequence[Limit], answer: object) -> Grant:
    tokens, wait, blocking, at = cast("list[int]", answer)
    return Grant(tokens, wait / 1e6, limits[blocking - 1].name if blocking else "", at)


def _numbers(limit: Limit, urgent_share: float) -> list[str]:
    if limit.count == math.inf:
        return _NO_RATE
    one = Budget.of(limit, urgent_share)
    numbers = (
        one.count, one.window, one.interval, one.fast_interval, one.batch, one.least, one.long_reach,
        one.fast_reach, one.urgent_count, one.urgent_interval,
    )  # fmt: skip
    return [repr(number) for number in numbers]


def _state(name: str, now: int, window: Any, log: list[Any], left: int, why: Any) -> LimitState:
    entries = [tuple(map(int, entry.split())) for entry in log]
    used = sum(tokens for _, last, tokens in entries if last + int(float(window or 0)) > now)
    reason = why.decode() if isinstance(why, bytes) else why or ""
    return LimitState(name, used, max(0, left) / 1000, reason if left > 0 else "")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except RedisError as error:
        raise LimiterUnavailable(f"rate limits: Redis does not answer: {error}") from error
