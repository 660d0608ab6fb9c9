"""A loop that stood still is no slow server."""

from __future__ import annotations

import pytest

from worker.delivery.pulse import BEAT_SECONDS, Pulse
from worker.domain.clock import FakeClock


def test_what_the_loop_did_not_live_through_does_not_count() -> None:
    clock = FakeClock()
    pulse = Pulse(clock)
    for _ in range(8):
        clock.advance(seconds=BEAT_SECONDS)
        pulse.beat()
    assert pulse.lived() == pytest.approx(2.0)
    clock.advance(seconds=60)
    assert 2.0 < pulse.lived() < 3.0, "before the beat that ends the stall"
    seen = pulse.lived()
    pulse.beat()
    assert pulse.lived() == pytest.approx(seen)
    clock.advance(seconds=0.1)
    assert pulse.lived() == pytest.approx(seen + 0.1)
    assert pulse.ticks() == clock.ticks()
