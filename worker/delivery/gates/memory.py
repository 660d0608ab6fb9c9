"""Breakers and connections of one process: the reference for those in Redis."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from threading import Lock

from worker.delivery.gates.base import LEASE_SECONDS, REMEMBERED_SECONDS
from worker.domain import breaker as moves
from worker.domain.breaker import Admission, Breaker, Pauses
from worker.domain.clock import Clock

# For how long a connection is left to urgent mail that was refused one: it is held for 5 s, then the sweep comes by.
WANTED_SECONDS = 15.0
# For how long a process that was refused one, and has less than a fair part, is left the next one.
PATIENCE_SECONDS = 3.0


class InMemoryBreakers:
    """For one process, and for tests."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: dict[str, Breaker] = {}
        self._lock = Lock()

    def trip(self, name: str, pauses: Pauses, asked: float | None, why: str) -> Breaker:
        with self._lock:
            now = self._forget()
            return self._set(name, moves.trip(self._kept.get(name, moves.WHOLE), pauses, now, asked, why), now)

    def admit(self, name: str, wanted: int) -> tuple[Breaker, Admission] | None:
        with self._lock:
            now = self._forget()
            if name not in self._kept:
                return None
            breaker, admission = moves.admit(self._kept[name], now, wanted)
            self._kept[name] = breaker
            return moves.shifted(breaker, -now), admission

    def land(self, name: str, pauses: Pauses, heard: int, other: int) -> Breaker:
        with self._lock:
            now = self._forget()
            found = self._kept.get(name, Breaker(until=now))
            if not found.failures:
                return moves.shifted(found, -now)
            return self._set(name, moves.land(found, pauses, now, heard, other), now)

    def keep(self, name: str, breaker: Breaker) -> None:
        with self._lock:
            now = self._forget()
            self._kept.setdefault(name, moves.shifted(breaker, now))

    def all(self) -> Mapping[str, Breaker]:
        with self._lock:
            now = self._forget()
            return {name: moves.shifted(one, -now) for name, one in self._kept.items()}

    def empty(self) -> None:
        """As an emptied Redis."""
        self._kept.clear()

    def _set(self, name: str, breaker: Breaker, now: float) -> Breaker:
        if not breaker.failures:
            breaker = Breaker(until=now)
        self._kept[name] = breaker
        return moves.shifted(breaker, -now)

    def _forget(self) -> float:
        now = self._clock.ticks()
        self._kept = {name: one for name, one in self._kept.items() if one.until + REMEMBERED_SECONDS > now}
        return now


class InMemoryLeases:
    """For one process, and for tests."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._held: dict[str, dict[str, float]] = {}
        self._wanted: dict[str, float] = {}
        self._waiting: dict[str, dict[str, float]] = {}
        self._lock = Lock()

    def take(self, name: str, most: int, holder: str, *, urgent: bool) -> bool:
        with self._lock:
            now = self._clock.ticks()
            held = {one: until for one, until in self._held.get(name, {}).items() if until > now}
            waiting = {one: until for one, until in self._waiting.get(name, {}).items() if until > now}
            self._held[name], self._waiting[name] = held, waiting
            most -= not urgent and self._wanted.get(name, 0.0) > now
            process = _process(holder)
            mine = sum(_process(one) == process for one in held)
            part = math.ceil(most / len({process, *map(_process, held), *waiting}))
            fair = mine < part or not waiting.keys() - {process}
            room = len(held) < most and (fair or urgent)
            if room:
                held[holder] = now + LEASE_SECONDS
                waiting.pop(process, None)
            elif mine < part:
                waiting[process] = now + PATIENCE_SECONDS
            if urgent:
                self._wanted[name] = 0.0 if room else now + WANTED_SECONDS
            return room

    def renew(self, held: Sequence[tuple[str, str]]) -> None:
        with self._lock:
            for name, holder in held:
                self._held.setdefault(name, {})[holder] = self._clock.ticks() + LEASE_SECONDS

    def give_back(self, name: str, holder: str) -> None:
        with self._lock:
            self._held.get(name, {}).pop(holder, None)

    def died(self, process: str) -> None:
        with self._lock:
            for name, held in self._held.items():
                self._held[name] = {one: until for one, until in held.items() if _process(one) != process}


def _process(holder: str) -> str:
    return holder.rpartition(":")[0] or holder
