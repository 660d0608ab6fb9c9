"""How long a thing took by the time in which the event loop was at work: its own stalls are no fault of a server's."""

from __future__ import annotations

from datetime import datetime

from worker.domain.clock import Clock

# How often the courier's loop says that it is alive.
BEAT_SECONDS = 0.25
# What is longer between two beats is a stall: the process was stopped, the machine busy, a callback slow.
_LONGEST_SECONDS = 1.2 * BEAT_SECONDS


class Pulse(Clock):
    """A clock, and a count of what the loop lived. Within a stall it stands, whoever asks first afterwards."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._at = clock.ticks()
        self._before = 0.0

    def now(self) -> datetime:
        return self._clock.now()

    def ticks(self) -> float:
        return self._clock.ticks()

    def beat(self) -> None:
        """To be called in the loop, each `BEAT_SECONDS`."""
        self._before = self.lived()
        self._at = self._clock.ticks()

    def lived(self) -> float:
        """Seconds."""
        return self._before + min(self._clock.ticks() - self._at, _LONGEST_SECONDS)
