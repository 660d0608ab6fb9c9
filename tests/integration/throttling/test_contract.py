"""What every limiter does, whichever it is."""

from __future__ import annotations

import math

import pytest

from worker.delivery.throttling import Grant, InMemoryLimiter, Limit, Limiter
from worker.domain.clock import FakeClock

OVERALL = Limit("overall", 500, 1)
SLOW = Limit("destination:slow", 10, 1)


def drain(limiter: Limiter, limits: list[Limit], *, urgent: bool = False) -> Grant:
    """Take what there is; the grant that says no."""
    while (grant := limiter.take(limits, 1000, urgent=urgent)).tokens:
        pass
    return grant


def test_no_limit_grants_all(limiter: Limiter) -> None:
    assert limiter.take([], 1234) == Grant(1234)


def test_nothing_wanted_is_nothing_granted(limiter: Limiter) -> None:
    assert limiter.take([OVERALL], 0) == Grant(0)


def test_a_grant_is_about_20_ms_of_work(limiter: Limiter) -> None:
    assert 5 <= limiter.take([OVERALL], 1000).tokens <= 10


def test_a_small_limit_grants_one(limiter: Limiter) -> None:
    assert limiter.take([Limit("a", 1, 1)], 1000).tokens == 1


def test_no_more_than_wanted(limiter: Limiter) -> None:
    assert limiter.take([OVERALL], 2).tokens == 2


def test_the_tightest_limit_decides_and_is_named(limiter: Limiter) -> None:
    assert limiter.take([OVERALL, SLOW], 100).tokens == 1
    refused = drain(limiter, [OVERALL, SLOW])
    assert refused.blocked_by == "destination:slow"
    assert limiter.state(["overall"])[0].used == limiter.state(["destination:slow"])[0].used


def test_a_slow_destination_takes_nothing_from_the_others(limiter: Limiter) -> None:
    drain(limiter, [OVERALL, SLOW])
    assert limiter.take([OVERALL], 1).tokens == 1


def test_several_are_asked_for_in_one_question(limiter: Limiter) -> None:
    overall, slow = Limit("overall", 1000, 1), Limit("destination:slow", 10, 1)
    asked = [((overall, slow), 5), ((overall,), 100), ((), 7), ((slow,), 0), ((overall, slow), 5), ((overall,), 100)]
    found = limiter.take_each(asked)
    # each after those before it: the second has what the first has left of the 20 ms that the overall limit gives
    assert [one.tokens for one in found] == [1, 19, 7, 0, 0, 0]
    assert [one.blocked_by for one in found[4:]] == ["destination:slow", "overall"]
    assert found[4].wait > 0.03
    assert [one.used for one in limiter.state(["overall", "destination:slow"])] == [20, 1]
    assert limiter.take_each([]) == []


def test_after_the_wait_there_are_tokens(limiter: Limiter, clock: FakeClock) -> None:
    refused = drain(limiter, [OVERALL])
    assert refused.blocked_by == "overall"
    assert 0 < refused.wait < 0.05
    clock.advance(seconds=refused.wait + 0.000_002)
    assert limiter.take([OVERALL], 1000).tokens > 0


@pytest.mark.parametrize(
    ("limit", "gap"),
    [(Limit("a", 1, 1), 1.0), (Limit("a", 0.5, 1), 2.0), (Limit("a", 1, 60), 60.0), (Limit("a", 1.9, 1), 1.0)],
)
def test_small_limits_keep_their_distance(limiter: Limiter, clock: FakeClock, limit: Limit, gap: float) -> None:
    assert limiter.take([limit], 5).tokens == 1
    refused = limiter.take([limit], 5)
    assert refused.tokens == 0
    assert gap <= refused.wait <= gap * 1.03
    clock.advance(seconds=gap - 0.001)
    assert limiter.take([limit], 5).tokens == 0
    clock.advance(seconds=gap * 0.03 + 0.001)
    assert limiter.take([limit], 5).tokens == 1


def test_ten_a_minute_come_ten_a_minute(limiter: Limiter, clock: FakeClock) -> None:
    limit = Limit("a", 10, 60)
    granted = 0
    for _ in range(6000):
        granted += limiter.take([limit], 1).tokens
        clock.advance(seconds=0.1)
    assert 97 <= granted <= 100


def test_tokens_given_back_can_be_taken_again(limiter: Limiter) -> None:
    grant = limiter.take([OVERALL], 1000)
    drain(limiter, [OVERALL])
    before = limiter.state(["overall"])[0].used
    limiter.give_back([OVERALL], grant, grant.tokens)
    assert limiter.state(["overall"])[0].used == before - grant.tokens
    assert limiter.take([OVERALL], grant.tokens).tokens == grant.tokens


def test_tokens_given_back_too_late_strike_nothing_newer(limiter: Limiter, clock: FakeClock) -> None:
    grant = limiter.take([OVERALL], 10)
    clock.advance(seconds=2)
    later = limiter.take([OVERALL], 10)
    limiter.give_back([OVERALL], grant, grant.tokens)
    assert limiter.state(["overall"])[0].used == later.tokens


def test_giving_back_under_no_limit_is_nothing(limiter: Limiter) -> None:
    limiter.give_back([], Grant(5), 5)
    limiter.give_back([OVERALL], Grant(5), 5)
    assert limiter.state(["overall"])[0].used == 0


def test_a_paused_limit_grants_nothing_to_anybody(limiter: Limiter) -> None:
    limiter.pause("destination:slow", 600, "421 4.7.28")
    for urgent in (False, True):
        refused = limiter.take([OVERALL, SLOW], 5, urgent=urgent)
        assert refused.tokens == 0
        assert refused.blocked_by == "destination:slow"
        assert 599 < refused.wait <= 600
    assert limiter.take([OVERALL], 5).tokens == 5
    state = limiter.state(["overall", "destination:slow"])
    assert (state[0].closed_for, state[0].why) == (0.0, "")
    assert 599 < state[1].closed_for <= 600
    assert state[1].why == "421 4.7.28"


def test_a_shorter_pause_does_not_end_a_longer_one(limiter: Limiter) -> None:
    limiter.pause("destination:slow", 600, "long")
    limiter.pause("destination:slow", 1, "short")
    assert limiter.state(["destination:slow"])[0].why == "long"
    limiter.pause("destination:slow", 1200, "longer")
    assert limiter.state(["destination:slow"])[0].why == "longer"


def test_a_limit_without_a_rate_is_only_there_to_be_closed(limiter: Limiter) -> None:
    hop = Limit("transport:smtp", math.inf, 1)
    assert limiter.take([hop], 5000) == Grant(5000, at=limiter.take([hop], 1).at)
    limiter.pause("transport:smtp", 60, "closed")
    assert limiter.take([hop], 5000).tokens == 0


def test_what_was_never_used_is_open(limiter: Limiter) -> None:
    state = limiter.state(["nobody"])[0]
    assert (state.name, state.used, state.closed_for, state.why) == ("nobody", 0, 0.0, "")


def test_used_forgets_what_has_left_the_window(limiter: Limiter, clock: FakeClock) -> None:
    limiter.take([OVERALL], 5)
    assert limiter.state(["overall"])[0].used == 5
    clock.advance(seconds=1)
    assert limiter.state(["overall"])[0].used == 0


def test_urgent_mail_goes_while_bulk_has_taken_all(limiter: Limiter, clock: FakeClock) -> None:
    for _ in range(3000):
        limiter.take([OVERALL], 1000)
        clock.advance(milliseconds=1)
    assert limiter.take([OVERALL], 1000).tokens == 0
    assert limiter.take([OVERALL], 1, urgent=True).tokens == 1


def test_bulk_waits_for_what_urgent_mail_took_in_advance(limiter: Limiter) -> None:
    wait_before = drain(limiter, [OVERALL]).wait
    for _ in range(3):
        limiter.take([OVERALL], 1000, urgent=True)
    assert limiter.take([OVERALL], 1000).wait > wait_before


def test_the_next_token_of_a_small_limit_is_kept_for_urgent_mail(limiter: Limiter, clock: FakeClock) -> None:
    limit = Limit("a", 1, 1)
    limiter.take([limit], 1)
    clock.advance(milliseconds=500)
    refused = limiter.take([limit], 1, urgent=True)
    assert 0.4 < refused.wait <= 0.5
    clock.advance(seconds=refused.wait)
    assert limiter.take([limit], 1).tokens == 0
    clock.advance(milliseconds=30)
    assert limiter.take([limit], 1).tokens == 0
    assert limiter.take([limit], 1, urgent=True).tokens == 1


def test_room_kept_for_urgent_mail_that_never_comes_back_is_freed(limiter: Limiter, clock: FakeClock) -> None:
    limit = Limit("a", 1, 1)
    limiter.take([limit], 1)
    limiter.take([limit], 1, urgent=True)
    clock.advance(seconds=8)
    assert limiter.take([limit], 1).tokens == 1


def test_a_clock_set_back_does_not_close_the_limit(limiter: Limiter, clock: FakeClock) -> None:
    drain(limiter, [OVERALL])
    clock.advance(minutes=-10)
    refused = drain(limiter, [OVERALL])
    assert refused.wait < 1.5
    clock.advance(seconds=1)
    assert limiter.take([OVERALL], 5).tokens == 5


@pytest.mark.parametrize(("count", "seconds"), [(0, 1), (-1, 1), (1, 0), (1, math.inf), (math.nan, 1)])
def test_a_limit_of_nothing_is_refused(count: float, seconds: float) -> None:
    with pytest.raises(ValueError, match=r"a: .* allowed: numbers above 0"):
        Limit("a", count, seconds)


def test_both_are_limiters(clock: FakeClock) -> None:
    one: Limiter = InMemoryLimiter(clock)
    assert one.take([], 1).tokens == 1
