"""Slices follow what the last one took, and a run ends in time."""

from __future__ import annotations

from pathlib import Path

import pytest

from worker.campaigns.pace import Pace
from worker.domain.clock import FakeClock
from worker.storage.database import Database


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(f"sqlite:///{tmp_path / 'pace.db'}")


def sizes(pace: Pace, clock: FakeClock, held: list[float]) -> list[int]:
    found = []
    for seconds in held:
        with pace.slice():
            clock.advance(seconds=seconds)
        found.append(pace.size)
    return found


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        ([0.004, 0.004, 0.008], [500, 1000, 1000]),
        ([0.004, 0.004, 0.016], [500, 1000, 500]),
        ([0.004, 0.004], [500, 1000]),
        ([0.0001, 0.0001], [500, 1000]),
        ([0.0] * 6, [500, 1000, 2000, 4000, 5000, 5000]),
        ([1.0], [500]),
    ],
    ids=["fits", "too long", "short", "twice at most", "the most", "the least"],
)
def test_the_next_slice_is_as_large_as_fits(
    database: Database, clock: FakeClock, held: list[float], expected: list[int]
) -> None:
    assert sizes(Pace(database, clock, lambda _: None), clock, held) == expected


def test_nobody_waits_so_there_is_no_rest(database: Database, clock: FakeClock) -> None:
    rests: list[float] = []
    sizes(Pace(database, clock, rests.append), clock, [0.5, 0.25])
    assert rests == []


def test_while_somebody_waits_a_rest_follows_as_long_as_the_slice(
    database: Database, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest is what lets the other in: who lets go and asks again at once would be there before it."""
    rests: list[float] = []
    monkeypatch.setattr(database, "has_waiters", iter([True, False]).__next__)
    sizes(Pace(database, clock, rests.append), clock, [0.5, 0.25])
    assert rests == pytest.approx([0.5])


def test_a_gentle_run_rests_whoever_works(database: Database, clock: FakeClock) -> None:
    rests: list[float] = []
    sizes(Pace(database, clock, rests.append, gentle=True), clock, [0.5, 0.25])
    assert rests == pytest.approx([0.5, 0.25])


def test_a_slice_that_fails_is_rolled_back_and_raises(database: Database, clock: FakeClock) -> None:
    pace = Pace(database, clock, lambda _: None)

    def fail() -> None:
        with pace.slice() as connection:
            connection.exec_driver_sql("CREATE TABLE t (x)")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar() == 0


def test_a_run_is_over_after_its_time(database: Database, clock: FakeClock) -> None:
    pace = Pace(database, clock, lambda _: None, seconds=3)
    assert not pace.over
    clock.advance(seconds=3)
    assert pace.over
