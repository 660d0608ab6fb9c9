"""How much a process should have in hand: about half a second of what it has lately managed."""

from __future__ import annotations

import threading

from worker.domain.clock import Clock

# Claimed rows must start within `claim.START_WITHIN_SECONDS`; half a second leaves room for a slow moment.
AHEAD_SECONDS = 0.5
# The memory of the measured rate, and what is looked at in one go.
_HALF_LIFE_SECONDS = 1.0
_WINDOW_SECONDS = 0.1

# A claim costs about as much as twenty rows in it: less than this part of the target is left to gather.
_WORTH = 3


class Pace:
    """Counts results and says how many rows may wait. Told by the recorder, asked by the claiming thread."""

    def __init__(self, clock: Clock, least: int, most: int) -> None:
        self._clock = clock
        self._least = least
        self._most = most
        self._rate = 0.0
        self._since = clock.ticks()
        self._count = 0
        self._changed = threading.Condition()

    def done(self, results: int) -> None:
        """That many conversations came to an end."""
        with self._changed:
            self._count += results
            elapsed = self._clock.ticks() - self._since
            if elapsed >= _WINDOW_SECONDS:
                seen = self._count / elapsed
                keep = 0.5 ** (elapsed / _HALF_LIFE_SECONDS)
                # up at once: a start from nothing would take seconds. Down slowly: a pause is not the hop's pace.
                self._rate = max(seen, keep * self._rate + (1 - keep) * seen)
                self._since, self._count = self._clock.ticks(), 0
            self._changed.notify_all()

    def room(self, waiting: int) -> int:
        """How many more rows may be claimed while `waiting` are not taken up yet; 0 while it is not worth a claim."""
        target = min(self._most, max(self._least, int(self._rate * AHEAD_SECONDS)))
        room = target - waiting
        return room if room >= target // _WORTH else 0

    def wait(self, seconds: float) -> None:
        """Until something is done, or `seconds` are over."""
        with self._changed:
            self._changed.wait(seconds)
