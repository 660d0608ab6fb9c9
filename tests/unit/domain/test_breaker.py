"""A breaker's moves, one by one."""

from __future__ import annotations

import pytest

from worker.domain.breaker import (
    FLIGHT_SECONDS,
    LOOK_AGAIN_SECONDS,
    WHOLE,
    Admission,
    Breaker,
    Pauses,
    Phase,
    admit,
    land,
    trip,
)

PAUSES = Pauses(60, 3600, full=3)


def tripped(now: float = 0.0, asked: float | None = None) -> Breaker:
    return trip(WHOLE, PAUSES, now, asked, "421 too fast")


@pytest.mark.parametrize(
    ("failures", "asked", "pause"),
    [
        (1, None, 60), (2, None, 120), (3, None, 240), (7, None, 3600), (90, None, 3600),
        (1, 5.0, 5), (2, 5.0, 10), (1, 7200.0, 7200), (2, 7200.0, 7200), (1, 0.0, 1), (1, 10**9, 86_400),
    ],
)  # fmt: skip
def test_pauses_double_from_what_was_asked_or_the_table(failures: int, asked: float | None, pause: float) -> None:
    assert PAUSES.after(failures, asked) == pause


def test_a_whole_one_lets_everything_pass() -> None:
    assert admit(WHOLE, 0, 500) == (WHOLE, Admission(500))
    assert land(WHOLE, PAUSES, 0, 500, 3) == WHOLE


def test_an_open_one_lets_nothing_pass_and_says_how_long() -> None:
    breaker, admission = admit(tripped(), 20, 500)
    assert (breaker, admission) == (tripped(), Admission(0, 40))
    assert breaker.phase(20) is Phase.OPEN


def test_many_refusals_in_one_moment_are_one_failure() -> None:
    assert trip(tripped(), PAUSES, 1, None, "again") == tripped()


def test_a_longer_wish_meanwhile_holds_a_shorter_one_does_not() -> None:
    assert trip(tripped(), PAUSES, 1, 30, "sooner") == tripped()
    longer = trip(tripped(), PAUSES, 1, 600, "later")
    assert (longer.until, longer.failures, longer.why) == (601, 1, "later")


def test_then_one_message_tries_and_all_others_wait() -> None:
    probing, admission = admit(tripped(), 60, 500)
    assert admission == Admission(1)
    assert probing.phase(60) is Phase.PROBING
    assert admit(probing, 61, 500)[1] == Admission(0, LOOK_AGAIN_SECONDS)


def test_a_probe_that_never_landed_is_forgotten() -> None:
    probing, _ = admit(tripped(), 60, 1)
    assert admit(probing, 60 + FLIGHT_SECONDS, 500)[1] == Admission(1)


def test_a_probe_that_came_back_without_a_word_makes_room_for_another() -> None:
    probing, _ = admit(tripped(), 60, 1)
    again = land(probing, PAUSES, 61, 0, 1)
    assert again.phase(61) is Phase.PROBING
    assert admit(again, 61, 500)[1] == Admission(1)


def test_a_failed_probe_waits_longer() -> None:
    probing, _ = admit(tripped(), 60, 1)
    failed = trip(probing, PAUSES, 61, None, "421 still too fast")
    assert (failed.failures, failed.until - 61) == (2, 120)


def test_it_grows_by_one_each_time_as_many_were_answered_until_it_is_whole() -> None:
    breaker = tripped()
    windows = []
    for _ in range(3):
        breaker, admission = admit(breaker, 60, 500)
        windows.append(admission.messages)
        breaker = land(breaker, PAUSES, 60, admission.messages, 0)
    assert windows == [1, 2, 3]
    assert breaker == WHOLE


def test_throttled_while_growing_it_waits_longer_than_before() -> None:
    breaker, _ = admit(tripped(), 60, 1)
    growing = land(breaker, PAUSES, 60, 1, 0)
    assert growing.phase(60) is Phase.GROWING
    again = trip(growing, PAUSES, 61, None, "421")
    assert (again.until, again.window) == (61 + 120, 1)


def test_answers_of_before_it_throttled_do_not_open_it() -> None:
    assert land(tripped(), PAUSES, 1, 50, 0).phase(2) is Phase.OPEN
