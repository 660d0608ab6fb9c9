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
        ([0.008], [200]),
        ([0.004, 0.016], [400, 200]),
        ([0.004, 0.004], [400, 800]),
        ([0.0001], [400]),
        ([0.0] * 6, [400, 800, 1600, 3200, 5000, 5000]),
        ([1.0], [200]),
    ],
    ids=["fits", "too long", "short", "twice at most", "the most", "the least"],
)
def test_the_next_slice_is_as_large_as_fits(
    database: Database, clock: FakeClock, held: list[float], expected: list[int]
) -> None:
    assert sizes(Pace(database, clock, lambda _: None), clock, held) == expected


def test_after_a_slice_comes_a_rest_as_long(database: Database, clock: FakeClock) -> None:
    rests: list[float] = []
    sizes(Pace(database, clock, rests.append), clock, [0.5, 0.25])
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
