"""How much a process claims ahead, by what it has lately managed."""

from __future__ import annotations

from worker.delivery.pace import AHEAD_SECONDS, Pace
from worker.domain.clock import FakeClock


def test_starts_small_and_rises_at_once_with_what_was_managed() -> None:
    clock = FakeClock()
    pace = Pace(clock, least=16, most=500)
    assert pace.room("", 0) == 16
    clock.advance(seconds=0.25)
    pace.done({"": 250})
    assert pace.room("", 0) == 1000 * AHEAD_SECONDS


def test_falls_slowly_when_less_is_managed() -> None:
    clock = FakeClock()
    pace = Pace(clock, least=16, most=500)
    assert pace.room("", 0) == 16
    clock.advance(seconds=0.5)
    pace.done({"": 500})
    clock.advance(seconds=0.5)
    pace.done({"": 0})
    after_a_pause = pace.room("", 0)
    for _ in range(20):
        clock.advance(seconds=0.5)
        pace.done({"": 5})
    assert 300 < after_a_pause < 500
    assert pace.room("", 0) == 16


def test_what_waits_is_taken_off_and_little_room_is_none() -> None:
    pace = Pace(FakeClock(), least=30, most=500)
    assert pace.room("", 20) == 10
    assert pace.room("", 21) == 0
    assert pace.room("", 30) == 0


def test_little_room_is_some_for_a_claim_that_is_made_anyway() -> None:
    pace = Pace(FakeClock(), least=30, most=500)
    assert pace.spare("", 21) == 9
    assert pace.spare("", 31) == 0


def test_a_slow_destination_and_a_quick_one_are_measured_apart() -> None:
    clock = FakeClock()
    pace = Pace(clock, least=16, most=500)
    assert pace.room("slow", 0) == pace.room("", 0) == 16
    clock.advance(seconds=0.25)
    pace.done({"": 250, "slow": 1})
    assert pace.room("", 0) == 1000 * AHEAD_SECONDS
    assert pace.room("slow", 0) == 16
    assert pace.room("slow", 16) == 0
