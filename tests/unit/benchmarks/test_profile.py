"""Samples become steps, and percentiles are those of the list."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.latency import percentile
from benchmarks.profile import in_steps, stacks, step_of
from tests.servers import REPOSITORY

_BURN = """
import sys, time
from pathlib import Path
from benchmarks.sampled import sample_into
def burn(until):
    while time.process_time() < until: pass
sample_into(Path(sys.argv[1]))
burn(time.process_time() + 0.4)
"""


def _stack(*files: str) -> tuple[tuple[str, str], ...]:
    return tuple((file, "f") for file in files)


def test_the_innermost_file_that_is_a_step_names_it() -> None:
    courier, claim = "/x/worker/delivery/courier.py", "/x/worker/delivery/claim.py"
    assert step_of(_stack("/lib/uvloop.py", "/x/worker/delivery/journal.py", courier)) == "journal"
    assert step_of(_stack("/lib/sqlalchemy/base.py", "/x/worker/delivery/queries.py", claim, courier)) == "claim"
    assert step_of(_stack("/lib/celery/worker/loops.py")) == "Celery and the rest"


def test_microseconds_are_shared_out_whole() -> None:
    claim, rest = _stack("/x/worker/delivery/claim.py"), _stack("/lib/kombu.py")
    assert in_steps([claim, claim, claim, rest], 100.0) == {"claim": 75.0, "Celery and the rest": 25.0}


def test_a_working_process_is_sampled_where_it_works(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", _BURN, str(tmp_path)], cwd=REPOSITORY, check=True)
    text = next(tmp_path.glob("stacks-*.txt")).read_text("utf-8")
    found = list(stacks(text))
    # every 2 ms where the kernel is that fine, 10 ms where it is coarse
    assert len(found) > 20
    assert sum(stack[0][1] == "burn" for stack in found) > len(found) * 0.8
    assert re.search(r'File ".*sampled.py"', text) is None


@pytest.mark.parametrize(("part", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_percentiles_are_of_the_nearest_rank(part: float, expected: int) -> None:
    assert percentile(range(1, 101), part) == expected
