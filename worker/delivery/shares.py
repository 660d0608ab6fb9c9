"""How the connections of one process are shared among hops and destinations, so that none holds them all."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from worker.delivery.desk import Desk
from worker.delivery.jobs import Bounds
from worker.domain.clock import Clock

# A hop or destination of which nothing is known, or that is slow, has a quarter of the connections at most …
_LEAST_PART = 4
# … and one that is quick leaves a quarter to the others.
_RESERVE_PART = 4
# Those known to be slow have half of them together while any other hop waits for one.
_SLOW_PART = 2
# When one ends, so many that wait are asked: some may not have it. The others come first the next time.
_ASKED = 10
# While other hops wait for a connection, one gives up its own after this.
_TURN_SECONDS = 5.0


class Shares:
    """`connections`: of this process."""

    def __init__(self, connections: int, clock: Clock) -> None:
        self._clock = clock
        self._all = connections
        self._least = max(1, connections // _LEAST_PART)
        self._most = max(1, connections - max(1, connections // _RESERVE_PART))
        self.serving: set[Desk] = set()
        """Those that have connections, no more than there are connections."""
        self.hungry: dict[Desk, None] = {}
        """Those that have work and too few of them, first come first."""

    def bounds(self, *, relay: bool) -> Bounds:
        """For a hop's lanes. A relay has all connections, but for those listed destinations that hold it up."""

        def of(destination: str) -> tuple[float, float]:
            return (math.inf, math.inf) if relay and not destination else (self._least, self._most)

        return of

    def places(self, desk: Desk) -> int:
        """How many connections it may open now; where they are too few, it is remembered as hungry."""
        needed = desk.needed
        self.hungry.pop(desk, None)
        if needed <= 0:
            return 0
        free = self._all - self._held(_any)
        if desk.is_relay:
            return min(needed, free)
        given = max(0, min(needed, free, self._spare(desk), self._most - len(desk.carriers)))
        if given < min(needed, self._most - len(desk.carriers)):
            self.hungry[desk] = None
            self._make_room(needed - given)
        return given

    def _spare(self, desk: Desk) -> int:
        """The last quarter is for hops that were quick: those that hold up mail never have all connections together.

        One of which nothing is known is not kept waiting by those that are slow.
        """
        if not desk.is_slow and not desk.is_new:
            return self._all
        spare = self._most - self._held(lambda one: one.is_slow or one.is_new)
        if desk.is_slow and any(not one.is_slow for one in self.hungry):
            spare = min(spare, max(1, self._all // _SLOW_PART) - self._held(lambda one: one.is_slow))
        return spare

    def _held(self, whose: Callable[[Desk], bool]) -> int:
        """Connections that these have now."""
        return sum(len(one.carriers) for one in self.serving if whose(one))

    def next_hungry(self) -> Iterator[Desk]:
        """Those that wait for a connection, for as long as there is one to be had."""
        for desk in list(self.hungry)[:_ASKED]:
            if self._held(_any) >= self._all:
                return
            yield desk

    def _make_room(self, wanted: int) -> None:
        """Idle connections of other hops end; who is hungry is asked again when they have."""
        for one in self.serving:
            while wanted > 0 and one.jobs.dismiss():
                wanted -= 1

    def leaves(self, desk: Desk) -> Callable[[], bool]:
        """Whether a connection of this hop should end after its message, since others have work and too few."""
        if desk.is_relay:
            return _stays
        over_at = self._clock.ticks() + _TURN_SECONDS

        def leaves() -> bool:
            if not self.hungry:
                return False
            if not desk.jobs.free or self._clock.ticks() >= over_at:
                return True
            return len(desk.carriers) > max(1, self._all // (len(self.serving) + 1))

        return leaves


def _any(_: Desk) -> bool:
    return True


def _stays() -> bool:
    return False
