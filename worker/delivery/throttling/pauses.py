"""How long what throttles is left alone: by the table of destinations, or by the first backoff."""

from __future__ import annotations

from worker.delivery.throttling.shaping import Destination, Shaping
from worker.domain.breaker import Pauses

# A relay that turns us away at the door may be back in a moment, and is all there is; once it takes one, it takes all.
_RELAY = Pauses(first=1.0, longest=60.0, full=1)
# Where no figure is given: the connections most servers take (KumoMTA's default).
_FULL = 10
# A destination that goes on throttling is tried at least this often (KumoMTA: 90 minutes at one message a minute).
LONGEST_SECONDS = 5400.0


class PauseTable:
    """`first`, `longest`: of a place that the table does not list, in seconds."""

    def __init__(self, shaping: Shaping, first: float, longest: float) -> None:
        self._groups = {f"destination:{group.name}": group for group in shaping.groups}
        self._first = first
        self._longest = max(first, min(longest, LONGEST_SECONDS))

    def of(self, gate: str, reply: str) -> Pauses:
        """For a breaker by its name, after that reply."""
        if gate == "relay":
            return _RELAY
        group = self._groups.get(gate)
        if group is None:
            return Pauses(self._first, self._longest, _FULL)
        return Pauses(_figure(group, reply) or self._first, self._longest, group.connections or _FULL)


def _figure(group: Destination, reply: str) -> float:
    said = reply.casefold()
    return next((seconds for words, seconds in group.pauses if words.casefold() in said), group.pause)
