"""The wall clock, set wrong by an hour and put right again."""

from __future__ import annotations

import random

from tests.faults.suite.bed import Bed
from tests.faults.suite.faults.table import fault
from tests.faults.suite.history import Stopped


def _register(name: str, seconds: int) -> None:
    @fault(f"clock-{name}", moves_clock=True)
    def jump(bed: Bed, rng: random.Random) -> str:
        """Both jumps are one: there, and back."""
        assert bed.clock is not None
        lasts = rng.uniform(2.0, 6.0)
        if seconds > 0:
            now, ports = bed.history.now(), bed.house.ports(bed.house.everybody())
            bed.history.set_forward.append(Stopped(now, now, "clock", ports))
        with bed.clock.set_by(seconds):
            bed.pause(lasts)
        return f"the clock {seconds:+d} s for {lasts:.1f} s"


_register("forward", 3600)
_register("back", -3600)
