"""One process's view: at once in memory, shared where it can be, and holding where it cannot."""

from __future__ import annotations

import pytest
from redis import Redis

from worker.delivery.gates import Breakers, BreakerStore, InMemoryBreakers, RedisBreakers
from worker.domain.breaker import Admission, Pauses
from worker.domain.clock import FakeClock

A = "destination:a"


def board(store: BreakerStore, clock: FakeClock, heard: list[tuple[str, float, str]] | None = None) -> Breakers:
    opened = [] if heard is None else heard
    return Breakers(store, clock, lambda _name, _why: Pauses(60, 600, full=3), lambda *one: opened.append(one))


def test_nothing_in_trouble_asks_nobody(clock: FakeClock) -> None:
    one = board(RedisBreakers(Redis(port=1)), clock)
    assert not one.troubled
    assert one.admit(A, 500) == Admission(500)


def test_it_opens_here_at_once_and_for_everybody_with_the_next_look(store: BreakerStore, clock: FakeClock) -> None:
    here, there = board(store, clock), board(store, clock)
    here.trip(A, None, "421 too fast")
    assert here.admit(A, 10) == Admission(0, 60)
    assert there.admit(A, 10) == Admission(10)
    here.sync()
    there.sync()
    assert there.admit(A, 10).messages == 0
    assert there.wait(A) == pytest.approx(60)


def test_one_probe_for_all_processes_and_all_see_it_grow(store: BreakerStore, clock: FakeClock) -> None:
    here, there = board(store, clock), board(store, clock)
    here.trip(A, None, "421")
    here.sync()
    there.sync()
    clock.advance(seconds=61)
    assert [here.admit(A, 10).messages, there.admit(A, 10).messages] == [1, 0]
    here.land(A, 1, 0)
    here.sync()
    clock.advance(seconds=2)
    there.sync()
    assert [here.admit(A, 10).messages, there.admit(A, 10).messages] == [2, 0]
    here.land(A, 2, 0)
    assert there.admit(A, 10).messages == 0
    assert here.admit(A, 10).messages == 3
    here.land(A, 3, 0)
    for one in (here, there):
        clock.advance(seconds=2)
        one.sync()
    assert not here.troubled
    assert not there.troubled


def test_a_failed_probe_waits_longer_for_everybody(store: BreakerStore, clock: FakeClock) -> None:
    here, there = board(store, clock), board(store, clock)
    here.trip(A, None, "421")
    here.sync()
    clock.advance(seconds=61)
    assert here.admit(A, 1).messages == 1
    here.trip(A, None, "421 still")
    here.sync()
    there.sync()
    assert there.wait(A) == pytest.approx(120)


def test_a_keeper_that_is_away_is_done_without_and_nothing_goes_faster(clock: FakeClock) -> None:
    one = board(RedisBreakers(Redis(port=1)), clock)
    one.trip(A, 120.0, "421")
    one.sync()
    assert one.admit(A, 10) == Admission(0, 120)
    clock.advance(seconds=121)
    assert one.admit(A, 10).messages == 1
    assert one.admit(A, 10).messages == 0
    one.land(A, 1, 0)
    assert one.admit(A, 10).messages == 2


def test_a_keeper_that_was_emptied_is_told_again(clock: FakeClock) -> None:
    store = InMemoryBreakers(clock)
    here, there = board(store, clock), board(store, clock)
    here.trip(A, None, "421")
    here.sync()
    store.empty()
    clock.advance(seconds=2)
    here.sync()
    there.sync()
    assert here.wait(A) == there.wait(A) == pytest.approx(58)


def test_emptied_redis_in_the_middle_of_growing(redis_client: Redis, clock: FakeClock) -> None:
    here = board(RedisBreakers(redis_client, now=clock.ticks), clock)
    here.trip(A, None, "421")
    here.sync()
    clock.advance(seconds=61)
    assert here.admit(A, 10).messages == 1
    redis_client.flushdb()
    here.land(A, 1, 0)
    assert here.admit(A, 10).messages == 2
    assert here.admit(A, 10).messages == 0


def test_what_opened_is_told_where_limits_are_kept(clock: FakeClock) -> None:
    heard: list[tuple[str, float, str]] = []
    one = board(InMemoryBreakers(clock), clock, heard)
    one.trip(A, None, "421 too fast")
    one.sync()
    assert heard == [(A, 60, "421 too fast")]
