"""Breakers and connections that all workers share: one Lua script each in Redis, on Redis' own clock."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from redis import Redis
from redis.exceptions import RedisError

from worker.delivery.gates.base import LEASE_SECONDS, REMEMBERED_SECONDS, GatesUnavailable
from worker.delivery.gates.memory import PATIENCE_SECONDS, WANTED_SECONDS
from worker.domain import breaker as moves
from worker.domain.breaker import FLIGHT_SECONDS, LOOK_AGAIN_SECONDS, Admission, Breaker, Pauses

_KEY = "pressrun:breakers"
_LOOKED = "pressrun:breakers-looked"
_Now = Callable[[], float]


class RedisBreakers:
    """`now` replaces Redis' own clock (seconds) and is for tests. The client must have socket timeouts."""

    def __init__(self, client: Redis, *, now: _Now | None = None) -> None:
        self._redis = client
        self._script = client.register_script(Path(__file__).with_name("breaker.lua").read_text("utf-8"))
        self._now = now

    def trip(self, name: str, pauses: Pauses, asked: float | None, why: str) -> Breaker:
        numbers = (pauses.first, pauses.longest, pauses.full, "" if asked is None else asked)
        return _read(self._call("trip", name, *numbers, why)[0])

    def admit(self, name: str, wanted: int) -> tuple[Breaker, Admission] | None:
        answer = self._call("admit", name, wanted)
        return (_read(answer[0]), Admission(int(answer[1]), float(answer[2]))) if answer else None

    def land(self, name: str, pauses: Pauses, heard: int, other: int) -> Breaker:
        return _read(self._call("land", name, pauses.full, heard, other)[0])

    def keep(self, name: str, breaker: Breaker) -> None:
        self._call("keep", name, json.dumps(asdict(breaker)))

    def all(self) -> Mapping[str, Breaker]:
        with _translated(), self._redis.pipeline(transaction=False) as pipeline:
            pipeline.time()
            pipeline.hgetall(_KEY)
            (seconds, micros), found = pipeline.execute()
        now = self._now() if self._now else _seconds(seconds, micros)
        kept = {_text(name): _read(state) for name, state in found.items()}
        return {
            name: moves.shifted(one, -now) for name, one in kept.items() if one.until + REMEMBERED_SECONDS > now
        }

    def _call(self, operation: str, name: str, *arguments: str | float) -> list[Any]:
        time = self._now() if self._now else ""
        head = (operation, name, time, FLIGHT_SECONDS, LOOK_AGAIN_SECONDS, REMEMBERED_SECONDS)
        with _translated():
            return cast("list[Any]", self._script(keys=[_KEY, _LOOKED], args=[*head, *arguments]))


class RedisLeases:
    """`now` replaces Redis' own clock (seconds) and is for tests. The client must have socket timeouts."""

    def __init__(self, client: Redis, *, now: _Now | None = None) -> None:
        self._redis = client
        self._script = client.register_script(Path(__file__).with_name("lease.lua").read_text("utf-8"))
        self._now = now

    def take(self, name: str, most: int, holder: str, *, urgent: bool) -> bool:
        seconds = (LEASE_SECONDS, WANTED_SECONDS, PATIENCE_SECONDS)
        times = (*(round(one * 1000) for one in seconds), self._time())
        keys = [_held(name), f"pressrun:connections-wanted:{name}", f"pressrun:connections-waiting:{name}"]
        with _translated():
            return bool(self._script(keys=keys, args=[most, holder, "1" if urgent else "", *times]))

    def renew(self, held: Sequence[tuple[str, str]]) -> None:
        with _translated(), self._redis.pipeline(transaction=False) as pipeline:
            now = self._now() if self._now else _seconds(*self._redis.time())
            for name, holder in held:
                pipeline.zadd(_held(name), {holder: (now + LEASE_SECONDS) * 1000})
                pipeline.pexpire(_held(name), round(LEASE_SECONDS * 1000))
            pipeline.execute()

    def give_back(self, name: str, holder: str) -> None:
        with _translated():
            self._redis.zrem(_held(name), holder)

    def died(self, process: str) -> None:
        with _translated():
            for key in self._redis.scan_iter(match=_held("*"), count=1000):
                holders = map(_text, self._redis.zrange(key, 0, -1))
                gone = [one for one in holders if one.startswith(f"{process}:")]
                if gone:
                    self._redis.zrem(key, *gone)

    def _time(self) -> int | str:
        return round(self._now() * 1000) if self._now else ""


def _held(name: str) -> str:
    return f"pressrun:connections:{name}"


def _seconds(seconds: int, micros: int) -> float:
    return seconds + micros / 1e6


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _read(state: str | bytes) -> Breaker:
    found = json.loads(state)
    whole = {name: int(found[name]) for name in ("failures", "window", "flying", "heard")}
    return Breaker(until=float(found["until"]), forgotten_at=float(found["forgotten_at"]), why=found["why"], **whole)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except RedisError as error:
        raise GatesUnavailable(f"breakers: Redis does not answer: {error}") from error
