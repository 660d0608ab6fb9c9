from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from worker.domain.retry import GiveUp, RetryAt, RetryPolicy

START = datetime(2025, 2, 9, 14, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
POLICY = RetryPolicy()


def most(_: float, high: float) -> float:
    return high


def least(low: float, _: float) -> float:
    return low


@pytest.mark.parametrize(
    ("attempts", "step"),
    [(1, MINUTE), (2, 2 * MINUTE), (3, 4 * MINUTE), (8, 128 * MINUTE), (9, 4 * HOUR), (10**6, 4 * HOUR)],
)
def test_the_wait_doubles_up_to_the_cap_and_is_drawn_from_all_of_it(attempts: int, step: timedelta) -> None:
    for draw, expected in ((most, step), (least, step / 10)):
        decision = POLICY.decide(attempts=attempts, first_attempt_at=START, now=START, expires_at=None, uniform=draw)
        assert decision == RetryAt(START + expected)


@pytest.mark.parametrize(
    ("late", "expires_in", "gives_up"),
    [
        (72 * HOUR - 5 * HOUR, None, False),
        (72 * HOUR - 4 * HOUR, None, True),
        (72 * HOUR, None, True),
        (HOUR, 6 * HOUR, False),
        (HOUR, 5 * HOUR, True),
        # an end of its own never makes the time longer
        (72 * HOUR, 720 * HOUR, True),
    ],
)
def test_it_gives_up_when_the_next_try_is_too_late(
    late: timedelta, expires_in: timedelta | None, gives_up: bool
) -> None:
    decision = POLICY.decide(
        attempts=20, first_attempt_at=START, now=START + late,
        expires_at=None if expires_in is None else START + expires_in, uniform=most,
    )
    assert isinstance(decision, GiveUp) == gives_up


def test_a_short_life_never_outlives_itself() -> None:
    """Whatever is drawn, a delivery is tried again before its end, and the end comes."""
    draw = random.Random(7).uniform
    for _ in range(200):
        now, attempts = START, 0
        while True:
            attempts += 1
            decision = POLICY.decide(attempts=attempts, first_attempt_at=START, now=now, expires_at=None, uniform=draw)
            if isinstance(decision, GiveUp):
                break
            assert now < decision.at < START + POLICY.lifetime
            now = decision.at
        assert attempts < 200
