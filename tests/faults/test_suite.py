"""The fault suite in its short form: a few fixed seeds, few readers. `make faults` is the long one (docs/faults.md)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.suite.run import run
from tests.faults.suite.schedule import scheduled

READERS = 200
SENDING_SECONDS = 7.0


# A run that finds something waits until it is sure that all stands still.
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("backend", "seed"), [("sqlite", 53), ("postgresql", 111)])
def test_three_books_agree_after_faults(backend: str, seed: int, tmp_path: Path) -> None:
    schedule = scheduled(seed, backend, READERS, sending_seconds=SENDING_SECONDS, most=3)
    result = run(schedule, tmp_path / "run")
    assert result.good, result.report
