"""What a hop's pace was is known again when it has work again."""

from __future__ import annotations

import asyncio

import pytest

from worker.delivery.jobs import Jobs
from worker.delivery.paces import Paces
from worker.delivery.pulse import Pulse
from worker.delivery.transports.base import NextHop
from worker.domain.clock import FakeClock

HOP = NextHop("mx.example", hosts=(("mx.example",),))


def jobs_of(took: float, times: int = 1) -> Jobs:
    one = _jobs()
    for _ in range(times):
        one.lane("").took_up(took)
    return one


def _jobs() -> Jobs:
    loop = asyncio.new_event_loop()
    loop.close()
    return Jobs(loop, Pulse(FakeClock()), lambda _destination: (2, 6))


@pytest.mark.parametrize(
    ("took", "times", "slow", "bound"), [(2.5, 1, True, 2), (0.02, 1, False, 3), (0.02, 9, False, 6)]
)
def test_slow_and_quick_ones(took: float, times: int, slow: bool, bound: float) -> None:
    paces = Paces(FakeClock())
    before = jobs_of(took, times)
    before.lane("").busy = 1
    paces.remember(HOP, before)
    again = _jobs()
    paces.recall(HOP, again)
    lane = again.lane("")
    assert (lane.slow, lane.bound, lane.busy, len(lane.waiting)) == (slow, bound, 0, 0)
    assert lane.took == pytest.approx(took)


def test_not_for_ever() -> None:
    clock = FakeClock()
    paces = Paces(clock)
    paces.remember(HOP, jobs_of(2.5))
    clock.advance(seconds=901)
    again = _jobs()
    paces.recall(HOP, again)
    assert again.lanes == {}
