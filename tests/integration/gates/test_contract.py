"""What every keeper of breakers and connections does, whichever it is."""

from __future__ import annotations

import random

import pytest
from redis import Redis

from worker.delivery.gates import BreakerStore, InMemoryBreakers, Leases, RedisBreakers, RedisLeases
from worker.delivery.gates.base import LEASE_SECONDS, REMEMBERED_SECONDS
from worker.delivery.gates.memory import PATIENCE_SECONDS, WANTED_SECONDS
from worker.domain.breaker import Admission, Breaker, Pauses, Phase
from worker.domain.clock import FakeClock

PAUSES = Pauses(60, 600, full=2)
A = "destination:a"


def test_nothing_is_known_of_what_never_throttled(store: BreakerStore) -> None:
    assert store.admit(A, 10) is None
    assert dict(store.all()) == {}


def test_it_opens_probes_grows_and_is_whole(store: BreakerStore, clock: FakeClock) -> None:
    opened = store.trip(A, PAUSES, None, "421 too fast")
    assert (opened.failures, opened.why) == (1, "421 too fast")
    assert opened.until == pytest.approx(60)
    clock.advance(seconds=20)
    assert _admission(store).messages == 0
    assert _admission(store).wait == pytest.approx(40)
    clock.advance(seconds=40)
    assert _messages(store) == 1
    assert _messages(store) == 0
    assert store.land(A, PAUSES, 1, 0).phase(0) is Phase.GROWING
    assert _messages(store) == 2
    assert store.land(A, PAUSES, 2, 0).phase(0) is Phase.WHOLE
    assert _messages(store) == 10
    assert store.all()[A].failures == 0


def test_what_is_asked_for_is_waited_for(store: BreakerStore) -> None:
    assert store.trip(A, PAUSES, 7200.0, "later").until == pytest.approx(7200)


def test_breakers_do_not_touch_each_other(store: BreakerStore) -> None:
    store.trip(A, PAUSES, None, "421")
    assert store.admit("destination:b", 10) is None


def test_what_a_process_has_kept_is_taken_over_once(store: BreakerStore) -> None:
    store.keep(A, Breaker(failures=3, until=100.0, window=1, why="421"))
    store.keep(A, Breaker(failures=1, until=5.0, window=1, why="another"))
    found = store.all()[A]
    assert (found.failures, found.why) == (3, "421")
    assert found.until == pytest.approx(100)


def test_one_that_nobody_tries_is_forgotten(store: BreakerStore, clock: FakeClock) -> None:
    store.trip(A, PAUSES, None, "421")
    clock.advance(seconds=60 + REMEMBERED_SECONDS)
    assert dict(store.all()) == {}
    assert store.admit(A, 5) is None


def test_both_keepers_make_the_same_moves(clock: FakeClock, store: BreakerStore) -> None:
    """A thousand random moves, beside the reference."""
    reference = InMemoryBreakers(clock)
    dice = random.Random(7)
    for _ in range(1000):
        clock.advance(seconds=dice.choice([0.0, 0.5, 5, 61]))
        name = dice.choice("ab")
        move = dice.choice(["trip", "admit", "admit", "land", "land", "land"])
        asked = dice.choice([None, None, 30.0, 200.0])
        found: list[object] = []
        for one in (reference, store):
            if move == "trip":
                found.append(_rounded(one.trip(name, PAUSES, asked, "421")))
            elif move == "admit":
                answer = one.admit(name, 3)
                found.append(answer and (_rounded(answer[0]), answer[1].messages))
            else:
                found.append(_rounded(one.land(name, PAUSES, 1, 0)))
        assert found[0] == found[1]


def _rounded(breaker: Breaker) -> tuple[object, ...]:
    times = (breaker.until, breaker.forgotten_at) if breaker.failures else ()
    return (breaker.failures, breaker.window, breaker.flying, breaker.heard, *(round(one, 2) for one in times))


def _admission(store: BreakerStore) -> Admission:
    answer = store.admit(A, 10)
    assert answer is not None
    return answer[1]


def _messages(store: BreakerStore) -> int:
    return _admission(store).messages


# -- connections


def test_no_more_connections_than_the_most(leases: Leases) -> None:
    assert [leases.take("a", 2, holder, urgent=False) for holder in "xyz"] == [True, True, False]
    leases.give_back("a", "x")
    assert leases.take("a", 2, "z", urgent=False)
    assert leases.take("b", 2, "z", urgent=False)


def test_a_dead_process_gives_back_what_a_living_one_renews(leases: Leases, clock: FakeClock) -> None:
    assert leases.take("a", 2, "dead", urgent=False)
    assert leases.take("a", 2, "alive", urgent=False)
    clock.advance(seconds=LEASE_SECONDS / 2)
    leases.renew([("a", "alive")])
    clock.advance(seconds=LEASE_SECONDS / 2 + 1)
    assert leases.take("a", 2, "new", urgent=False)
    assert not leases.take("a", 2, "newer", urgent=False)


def test_one_that_was_found_dead_gives_back_all_it_has_at_once(leases: Leases) -> None:
    for name in "ab":
        assert all(leases.take(name, 2, holder, urgent=False) for holder in ("host:dead:1", "host:deadly:1"))
    leases.died("host:dead")
    for name in "ab":
        assert [leases.take(name, 2, holder, urgent=False) for holder in ("host:new:1", "host:new:2")] == [True, False]


def test_what_urgent_mail_was_refused_the_others_leave_to_it(leases: Leases, clock: FakeClock) -> None:
    assert leases.take("a", 2, "x", urgent=False)
    assert leases.take("a", 2, "y", urgent=False)
    assert not leases.take("a", 2, "u", urgent=True)
    leases.give_back("a", "x")
    assert not leases.take("a", 2, "x", urgent=False)
    assert leases.take("a", 2, "u", urgent=True)
    leases.give_back("a", "u")
    assert leases.take("a", 2, "x", urgent=False)


def test_it_is_left_for_some_seconds_only(leases: Leases, clock: FakeClock) -> None:
    assert leases.take("a", 1, "x", urgent=False)
    assert not leases.take("a", 1, "u", urgent=True)
    leases.give_back("a", "x")
    clock.advance(seconds=WANTED_SECONDS + 1)
    assert leases.take("a", 1, "x", urgent=False)


def test_processes_share_them_fairly(leases: Leases, clock: FakeClock) -> None:
    """Who had all of them gives up one after the other, as they end, to those who wait: no more than that."""
    assert all(leases.take("a", 4, f"here:{n}", urgent=False) for n in range(4))
    assert not leases.take("a", 4, "there:1", urgent=False)
    for number in range(2):
        leases.give_back("a", f"here:{number}")
        assert not leases.take("a", 4, "here:9", urgent=False)
        assert leases.take("a", 4, f"there:{number}", urgent=False)
        assert not leases.take("a", 4, "there:9", urgent=False)
    leases.give_back("a", "here:2")
    assert leases.take("a", 4, "here:10", urgent=False)
    leases.give_back("a", "there:0")
    clock.advance(seconds=PATIENCE_SECONDS + 0.1)
    assert leases.take("a", 4, "here:11", urgent=False)


def test_a_clock_set_back_keeps_no_connection_of_the_dead(redis_client: Redis) -> None:
    now = [100_000.0]
    leases = RedisLeases(redis_client, now=lambda: now[0])
    assert leases.take("a", 2, "dead", urgent=False)
    assert leases.take("a", 2, "alive", urgent=False)
    assert not leases.take("a", 2, "u", urgent=True)
    now[0] -= 3600
    assert not leases.take("a", 2, "x", urgent=False)
    leases.renew([("a", "alive")])
    now[0] += LEASE_SECONDS - 1
    leases.renew([("a", "alive")])
    now[0] += 2
    assert leases.take("a", 2, "x", urgent=False)
    assert not leases.take("a", 2, "y", urgent=False)


def test_what_nobody_has_tried_for_long_is_looked_for_once_a_minute(redis_client: Redis) -> None:
    now = [100_000.0]
    store = RedisBreakers(redis_client, now=lambda: now[0])
    for number in range(50):
        store.trip(f"mx:{number}", PAUSES, None, "421")
    assert redis_client.hlen("pressrun:breakers") == 50
    now[0] += 60 + REMEMBERED_SECONDS
    store.trip(A, PAUSES, None, "421")
    assert redis_client.hlen("pressrun:breakers") == 51
    assert list(store.all()) == [A]
    assert store.admit("mx:7", 5) is None
    assert 0 < redis_client.ttl("pressrun:breakers-looked") <= 60
    redis_client.delete("pressrun:breakers-looked")
    store.trip(A, PAUSES, None, "421")
    assert redis_client.hkeys("pressrun:breakers") in ([A], [A.encode()])
