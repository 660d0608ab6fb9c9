"""How much a process should have in hand: about half a second of what it has lately managed."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

from worker.domain.clock import Clock

# Claimed rows must start within `claim.START_WITHIN_SECONDS`; half a second leaves room for a slow moment.
AHEAD_SECONDS = 0.5
# The memory of the measured rate, and what is looked at in one go.
_HALF_LIFE_SECONDS = 1.0
_WINDOW_SECONDS = 0.1

# A claim costs about as much as twenty rows in it: less than this part of the target is left to gather.
_WORTH = 3


@dataclass(slots=True)
class _Seen:
    since: float
    rate: float = 0.0
    count: int = 0


class Pace:
    """Counts results and says how many rows may wait, for each destination by itself.

    Told by the recorder, asked by the claiming thread.
    """

    def __init__(self, clock: Clock, least: int, most: int) -> None:
        self._clock = clock
        self._least = least
        self._most = most
        self._seen: dict[str, _Seen] = {}
        self._changed = threading.Condition()

    def done(self, results: Mapping[str, int]) -> None:
        """So many conversations came to an end, by destination."""
        with self._changed:
            for destination, count in results.items():
                self._count(self._of(destination), count)
            self._changed.notify_all()

    def _count(self, seen: _Seen, count: int) -> None:
        seen.count += count
        elapsed = self._clock.ticks() - seen.since
        if elapsed >= _WINDOW_SECONDS:
            rate = seen.count / elapsed
            keep = 0.5 ** (elapsed / _HALF_LIFE_SECONDS)
            # up at once: a start from nothing would take seconds. Down slowly: a pause is not the hop's pace.
            seen.rate = max(rate, keep * seen.rate + (1 - keep) * rate)
            seen.since, seen.count = self._clock.ticks(), 0

    def _of(self, destination: str) -> _Seen:
        seen = self._seen.get(destination)
        return seen if seen is not None else self._seen.setdefault(destination, _Seen(self._clock.ticks()))

    def room(self, destination: str, waiting: int) -> int:
        """How many more rows may be claimed while `waiting` are not taken up yet; 0 while it is not worth a claim."""
        target = self._target(destination)
        room = target - waiting
        return room if room >= target // _WORTH else 0

    def spare(self, destination: str, waiting: int) -> int:
        """`room`, where a claim is made anyway."""
        return max(0, self._target(destination) - waiting)

    def _target(self, destination: str) -> int:
        return min(self._most, max(self._least, int(self._of(destination).rate * AHEAD_SECONDS)))

    def wait(self, seconds: float) -> None:
        """Until something is done, or `seconds` are over."""
        with self._changed:
            self._changed.wait(seconds)
