"""What may wait at a hop that takes its time, and until when the rest waits elsewhere."""

from __future__ import annotations

import asyncio
import math
from datetime import UTC, datetime, timedelta

import pytest

from tests.integration.delivery.test_courier import claimed
from worker.delivery.backlog import FIRST_TURNS_SECONDS, LONGEST_TURN_SECONDS, Backlog, Turns
from worker.delivery.gatekeeper import LONGEST_HOLD_SECONDS, Gatekeeper
from worker.delivery.gates import Breakers, InMemoryBreakers
from worker.delivery.jobs import Jobs
from worker.delivery.lane import Job, Lane
from worker.delivery.parcels import Claimed, Lease
from worker.delivery.pulse import Pulse
from worker.domain.breaker import Pauses
from worker.domain.clock import FakeClock
from worker.domain.message import Envelope, Message


class NoMail:
    def compose(self, claimed: Claimed) -> tuple[Envelope, Message]:
        raise AssertionError("nothing is sent here")


def job(number: int = 1, first_attempt_at: datetime | None = None) -> Job:
    one = claimed(number)
    one.first_attempt_at = first_attempt_at
    return Job(one, Lease(1, 0.0, 0.0, datetime.now(UTC), 1), NoMail())


def lane(took: float, *, busy: int, waiting: int) -> Lane:
    one = Lane(least=2, most=6, busy=busy, took=took)
    one.bound = 6
    one.waiting.extend(job(number) for number in range(waiting))
    return one


def backlog(clock: FakeClock | None = None) -> Backlog:
    clock = clock or FakeClock()
    return Backlog(clock, Turns(clock))


def test_one_that_is_quick_or_not_known_yet_keeps_all_that_comes() -> None:
    for one in (lane(0.005, busy=6, waiting=400), lane(0.0, busy=2, waiting=400)):
        assert backlog().room(one, 1000) == 1000
        assert not backlog().crowds(one)


def test_one_that_takes_its_time_keeps_a_second_of_its_work() -> None:
    clock = FakeClock()
    one = backlog(clock)
    assert one.room(lane(0.12, busy=6, waiting=0), 1000) == 1000, "it may be a hiccup"
    clock.advance(seconds=1)
    assert one.room(lane(0.12, busy=6, waiting=0), 1000) == 50
    assert one.room(lane(0.12, busy=6, waiting=45), 1000) == 5
    assert one.room(lane(0.12, busy=6, waiting=60), 1000) == 0
    quick = lane(0.005, busy=6, waiting=0)
    assert one.room(quick, 1000) == 1000
    assert one.room(lane(0.12, busy=6, waiting=0), 1000) == 50, "one quick look is none"
    for _ in range(2):
        assert one.room(quick, 1000) == 1000
        clock.advance(seconds=1)
    assert one.room(quick, 1000) == 1000
    assert one.room(lane(0.12, busy=6, waiting=0), 1000) == 1000, "anew"
    silent = lane(30.0, busy=2, waiting=0)
    silent.slow = True
    assert one.room(silent, 1000) == 12
    assert backlog().crowds(lane(0.12, busy=6, waiting=26))
    assert not backlog().crowds(lane(0.12, busy=6, waiting=25))


def test_the_others_come_in_turn_behind_those_that_came_before() -> None:
    clock = FakeClock()
    one = backlog(clock)
    waits = [one.book(lane(0.6, busy=6, waiting=n)) for n in (9, 500, 0, 0, 9)]
    assert waits == pytest.approx([1.0, 1.1, 1.2, 1.3, 1.4])
    clock.advance(seconds=1.5)
    full = lane(0.6, busy=6, waiting=9)
    assert one.book(full) == pytest.approx(1.0)
    assert backlog(clock).book(lane(0.6, busy=6, waiting=0), most=2) == pytest.approx(0.3)
    assert one.book(lane(0.0, busy=2, waiting=400)) == 0


def test_turns_of_one_that_was_slow_for_a_moment_are_near_and_go_further_the_longer_it_is() -> None:
    clock = FakeClock()
    one = backlog(clock)
    full = lane(0.6, busy=6, waiting=9)
    first, last = FIRST_TURNS_SECONDS, LONGEST_TURN_SECONDS
    for seconds, furthest in ((0, first), (10, first), (40, 50), (900, last)):
        for _ in range(seconds):
            clock.advance(seconds=1)
            one.book(full)
        waits = [one.book(full) for _ in range(10_000)][-4000:]
        assert all(furthest / 2 <= wait <= furthest for wait in waits)
        assert max(waits) - min(waits) > 0.49 * furthest
    for _ in range(2):
        assert one.room(lane(0.002, busy=6, waiting=0), 100) == 100
        clock.advance(seconds=1)
    assert one.room(lane(0.002, busy=6, waiting=0), 100) == 100
    assert one.book(full) == pytest.approx(1.0)


def test_turns_are_told_of_when_they_come() -> None:
    clock = FakeClock()
    turns = Turns(clock)
    assert (turns.due(), turns.wait()) == (False, math.inf)
    for _ in range(10_000):
        turns.add(2.0)
    turns.add(1.0)
    assert not turns.due()
    assert turns.wait() == pytest.approx(1.0, abs=0.3)
    clock.advance(seconds=1.3)
    assert [turns.due(), turns.due()] == [True, False]
    clock.advance(seconds=1)
    assert [turns.due(), turns.due()] == [True, False]
    assert turns.wait() == math.inf


def test_a_connection_is_kept_for_what_found_none_open() -> None:
    clock = FakeClock()
    one = backlog(clock)
    assert one.awaits() == 0
    one.expect_back()
    assert one.awaits() == pytest.approx(15)
    clock.advance(seconds=15)
    assert one.awaits() == 0


def test_a_lane_in_which_nothing_ends_is_slow_before_it_does() -> None:
    silent = Lane(least=2, most=6)
    for _ in range(9):
        silent.took_up(0.002)
    silent.busy = 6
    for now in (10.0, 10.5, 10.9):
        silent.look(now)
    assert (silent.slow, silent.bound) == (False, 6)
    silent.look(11.0)
    silent.look(40.0)
    assert (silent.slow, silent.bound, silent.took) == (True, 2, 30.0)
    silent.took_up(0.002)
    silent.look(41.0)
    assert not silent.slow
    idle = Lane(least=2, most=6)
    idle.look(10.0)
    idle.look(99.0)
    assert not idle.slow


def test_what_is_dead_for_days_is_looked_for_ever_more_rarely() -> None:
    """From a minute on, within the 72 hours of its life."""
    clock = FakeClock()
    gates = Gatekeeper(Breakers(InMemoryBreakers(clock), clock, lambda *_: Pauses(60, 600)), clock)
    began, looks = clock.now(), 0
    assert gates.growing(job(), 60.0) == 60
    while clock.now() < began + timedelta(hours=72):
        wait = gates.growing(job(first_attempt_at=began), 60.0)
        assert 60 <= wait <= LONGEST_HOLD_SECONDS
        clock.advance(seconds=wait)
        looks += 1
    assert looks < 90


def test_of_idle_connections_a_fresh_one_is_not_dismissed() -> None:
    async def go() -> tuple[bool, bool, bool]:
        jobs = Jobs(asyncio.get_running_loop(), Pulse(FakeClock()))
        fresh = asyncio.ensure_future(jobs.wait(5.0, stays=True))
        used = asyncio.ensure_future(jobs.wait(5.0))
        await asyncio.sleep(0)
        first, second = jobs.dismiss(), jobs.dismiss()
        await asyncio.sleep(0.01)
        still = used.done() and not fresh.done()
        jobs.close()
        await asyncio.gather(fresh, used)
        return first, second, still

    assert asyncio.run(go()) == (True, False, True)
