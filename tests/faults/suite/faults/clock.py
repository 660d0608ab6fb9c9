"""The wall clock, set wrong by an hour and put right again."""

from __future__ import annotations

import random
from contextlib import ExitStack

from tests.faults.suite.bed import Bed
from tests.faults.suite.faults.table import fault
from tests.faults.suite.history import Stopped


def _register(name: str, seconds: int) -> None:
    @fault(f"clock-{name}", moves_clock=True)
    def jump(bed: Bed, rng: random.Random) -> str:
        """Both jumps are one: there, and back."""
        assert bed.clock is not None
        lasts = rng.uniform(2.0, 6.0)
        with ExitStack() as stack:
            with bed.house.frozen(bed.house.everybody()) as seen:
                stack.enter_context(bed.clock.set_by(seconds))
                if seconds > 0:
                    now = bed.history.now()
                    bed.history.set_forward.append(Stopped(now, now, "clock", seen.ports, seen.bodies))
            bed.pause(lasts)
        return f"the clock {seconds:+d} s for {lasts:.1f} s"


_register("forward", 3600)
_register("back", -3600)
