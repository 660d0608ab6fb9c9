"""Promise 6 in simulated time: never above the limit, 97% of it used, and urgent mail before bulk mail."""

from __future__ import annotations

import pytest

from tests.unit.throttling.simulation import Scene, most_in_a_window, simulate
from worker.delivery.throttling import InMemoryLimiter, Limit
from worker.domain.clock import FakeClock

FIVE_HUNDRED = [
    Scene(),
    Scene(seed=2),
    Scene(processes=1),
    Scene(processes=3, seed=3),
    Scene(processes=8, stall_every=0),
    Scene(stall_every=0.3),
    Scene(claim=(0.005, 0.02)),
    Scene(delay=(0.005, 0.08)),
    Scene(urgent_per_second=20),
    Scene(urgent_per_second=200),
]


@pytest.mark.parametrize("scene", FIVE_HUNDRED, ids=str)
def test_500_a_second_are_used_and_never_passed(scene: Scene) -> None:
    seen = simulate(scene)
    assert most_in_a_window(seen.granted, 1) <= 500
    assert most_in_a_window(seen.received, 1) <= 525
    assert seen.busy(scene) >= 0.97


@pytest.mark.parametrize(
    ("limit", "seconds"),
    [
        (Limit("a", 5000, 1), 5.0),
        (Limit("a", 20, 1), 60.0),
        (Limit("a", 2, 1), 300.0),
        (Limit("a", 1, 1), 600.0),
        (Limit("a", 0.5, 1), 600.0),
        (Limit("a", 10, 60), 3600.0),
        (Limit("a", 600, 60), 300.0),
    ],
    ids=str,
)
def test_other_limits_are_used_and_never_passed(limit: Limit, seconds: float) -> None:
    scene = Scene(limit=limit, seconds=seconds)
    seen = simulate(scene)
    window = limit.per_seconds / min(1.0, limit.count)
    assert most_in_a_window(seen.granted, window) <= max(1, limit.count)
    assert seen.busy(scene) >= 0.97


@pytest.mark.parametrize("urgent", [1, 20, 45])
def test_urgent_mail_within_its_share_does_not_wait_for_bulk_mail(urgent: float) -> None:
    seen = simulate(Scene(urgent_per_second=urgent))
    assert len(seen.urgent_waits) > 20
    assert seen.urgent_p99() < 0.2


def test_urgent_mail_of_a_small_limit_waits_for_the_next_token_only() -> None:
    seen = simulate(Scene(limit=Limit("a", 5, 1), seconds=300, urgent_per_second=0.3))
    assert seen.urgent_p99() < 1


def test_neither_lane_starves_the_other() -> None:
    """Both want far more than there is: each gets its part, after a burst of saved-up share."""
    clock = FakeClock()
    limiter = InMemoryLimiter(clock)
    limit = Limit("overall", 500, 1)
    granted = {True: 0, False: 0}
    for turn in range(20_000):
        for urgent in (turn % 2 == 0, turn % 2 == 1):
            granted[urgent] += limiter.take([limit], 40, urgent=urgent).tokens
        clock.advance(milliseconds=1)
    assert sum(granted.values()) >= 0.97 * 10_000
    assert min(granted.values()) >= 0.25 * 10_000
