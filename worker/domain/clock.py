"""Time, injected. `now` is UTC wall time for the ledger; `ticks` runs on while the process is stopped."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

# CLOCK_BOOTTIME also counts a suspended machine; where it is missing (macOS), monotonic still counts a
# process stopped by SIGSTOP, which is the case a lease must survive.
_TICK_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock(Protocol):
    """Where time comes from."""

    def now(self) -> datetime:
        """Aware, in UTC."""

    def ticks(self) -> float:
        """Seconds on a clock that never goes back and does not stop with the process."""


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def ticks(self) -> float:
        return time.clock_gettime(_TICK_CLOCK)


class FakeClock:
    """A clock that moves when told to; the twin used in tests."""

    def __init__(self, start: datetime | None = None) -> None:
        self._now = start or datetime(2025, 2, 9, 14, 0, tzinfo=UTC)
        self._ticks = 1000.0

    def now(self) -> datetime:
        return self._now

    def ticks(self) -> float:
        return self._ticks

    def advance(self, **delta: float) -> None:
        """Move on by a `timedelta`'s keywords (`seconds=`, `hours=` …)."""
        step = timedelta(**delta)
        self._now += step
        self._ticks += step.total_seconds()
