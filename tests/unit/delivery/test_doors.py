"""What is kept of hops that refused and have no work: their doors, as many as there is room for, for two hours."""

from __future__ import annotations

import pytest

from worker.delivery import doors as doors_module
from worker.delivery.doors import Doors
from worker.delivery.hop import FIRST_PAUSE_SECONDS, FORGOTTEN_SECONDS, Hop
from worker.delivery.transports.base import NextHop
from worker.domain.clock import FakeClock


def hop(name: str) -> NextHop:
    return NextHop(name, hosts=((name,),))


def refused(clock: FakeClock) -> Hop:
    door = Hop(clock)
    door.refused("nobody there")
    return door


def test_one_that_has_work_again_is_as_it_was() -> None:
    doors, door = Doors(), refused(FakeClock())
    doors.remember(hop("a"), door, ["", "gmail"])
    assert doors.recall(hop("b")) is None
    assert doors.recall(hop("a")) is door
    assert (len(doors), doors.recall(hop("a")), doors.wait("gmail")) == (0, None, None)


def test_one_that_is_well_is_not_kept() -> None:
    doors = Doors()
    doors.remember(hop("a"), Hop(FakeClock()), ["gmail"])
    assert (len(doors), doors.wait("gmail")) == (0, None)


def test_a_listed_destination_waits_for_the_first_of_its_hops() -> None:
    doors, clock = Doors(), FakeClock()
    doors.remember(hop("a"), refused(clock), ["gmail"])
    clock.advance(seconds=FIRST_PAUSE_SECONDS / 2)
    doors.remember(hop("b"), refused(clock), ["gmail"])
    assert doors.wait("gmail") == pytest.approx(FIRST_PAUSE_SECONDS / 2)
    assert doors.wait("yahoo") is None
    clock.advance(seconds=FIRST_PAUSE_SECONDS / 2)
    assert doors.wait("gmail") == 0
    doors.recall(hop("a"))
    assert doors.wait("gmail") == pytest.approx(FIRST_PAUSE_SECONDS / 2)


def test_unlisted_ones_are_never_walked_through() -> None:
    """Together they are never shut, and there may be thousands."""
    doors = Doors()
    doors.remember(hop("a"), refused(FakeClock()), [""])
    assert (len(doors), doors.wait("")) == (1, None)


def test_those_that_nobody_knocked_at_for_long_are_forgotten() -> None:
    doors, clock = Doors(), FakeClock()
    doors.remember(hop("a"), refused(clock), ["gmail"])
    clock.advance(seconds=FORGOTTEN_SECONDS)
    doors.remember(hop("b"), refused(clock), ["gmail"])
    doors.forget()
    assert len(doors) == 2
    clock.advance(seconds=FIRST_PAUSE_SECONDS)
    doors.forget()
    assert (len(doors), doors.recall(hop("a"))) == (1, None)
    clock.advance(seconds=FORGOTTEN_SECONDS)
    # also where it has work before the next beat
    assert doors.recall(hop("b")) is None


def test_no_more_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors_module, "_KEPT", 3)
    doors, clock = Doors(), FakeClock()
    for name in "abcde":
        doors.remember(hop(name), refused(clock), ["gmail"])
    assert [name for name in "abcde" if doors.recall(hop(name))] == ["c", "d", "e"]
    assert doors.wait("gmail") is None
