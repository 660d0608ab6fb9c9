"""A seed is a schedule; a hundred of them leave nothing out."""

from __future__ import annotations

import pytest

from tests.faults.suite.faults import TABLE
from tests.faults.suite.schedule import scheduled


def test_a_seed_gives_the_same_schedule_again() -> None:
    assert scheduled(7, "sqlite", 2000) == scheduled(7, "sqlite", 2000)
    assert scheduled(7, "sqlite", 2000) != scheduled(8, "sqlite", 2000)


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_hundred_seeds_draw_every_fault_that_fits(database: str) -> None:
    drawn = {step.name for seed in range(1, 101) for step in scheduled(seed, database, 2000).faults}
    assert drawn == {name for name, one in TABLE.items() if one.drawn and database in one.databases}


def test_a_fault_that_needs_tls_brings_it_along() -> None:
    one = scheduled(1, "sqlite", 200, ["smtp-certificate-expired-tls", "kill-api"])
    assert one.setting.tls == "tls"
    assert [step.name for step in one.faults] == ["smtp-certificate-expired-tls", "kill-api"]


def test_the_clock_is_ours_only_where_it_is_moved() -> None:
    assert scheduled(1, "sqlite", 200, ["clock-back"]).setting.moves_clock
    assert not scheduled(1, "sqlite", 200, ["kill-api"]).setting.moves_clock
