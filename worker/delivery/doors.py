"""The doors of hops that refused and have no work just now. Of servers that are gone there may be thousands."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable

from worker.delivery.hop import Hop
from worker.delivery.transports.base import NextHop

# One that is forgotten too soon costs a few connections that are refused.
_KEPT = 20_000


class Doors:
    """Of one process: all that is kept of such a hop, which nobody walks through at each beat or for each claim."""

    def __init__(self) -> None:
        self._known: OrderedDict[NextHop, tuple[Hop, tuple[str, ...]]] = OrderedDict()
        self._listed: dict[str, dict[NextHop, Hop]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def remember(self, hop: NextHop, door: Hop, destinations: Iterable[str]) -> None:
        """It has no work any more; its mail is claimed for these."""
        if door.forgettable:
            return
        listed = tuple(name for name in destinations if name)
        self._known[hop] = door, listed
        for name in listed:
            self._listed.setdefault(name, {})[hop] = door
        if len(self._known) > _KEPT:
            self._drop(next(iter(self._known)))

    def recall(self, hop: NextHop) -> Hop | None:
        """It has work again."""
        door = self._drop(hop) if hop in self._known else None
        return None if door is None or door.forgettable else door

    def wait(self, destination: str) -> float | None:
        """Seconds until one of a listed destination may be tried; None where none is remembered. From any thread."""
        there = self._listed.get(destination)
        if not there:
            return None
        least = math.inf
        for door in list(there.values()):
            least = min(least, door.wait())
            if least <= 0.0:
                break
        return least

    def forget(self) -> None:
        """At each beat: those that nobody has knocked at for long. They stand in the order of their last work."""
        while self._known:
            hop, (door, _) = next(iter(self._known.items()))
            if not door.forgettable:
                return
            self._drop(hop)

    def _drop(self, hop: NextHop) -> Hop:
        door, listed = self._known.pop(hop)
        for name in listed:
            del self._listed[name][hop]
            if not self._listed[name]:
                del self._listed[name]
        return door
