"""Promise 8: memory is flat, however many readers there are."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.conftest import WORKERS
from tests.running import Running, post_event
from tests.smtpd import Options, SmtpServer

_FEW, _MANY = 3_000, 30_000


@pytest.mark.parametrize("backend", ["sqlite"])
def test_ten_times_the_readers_need_no_more(system: Callable[..., Running]) -> None:
    """The largest process of each part after one campaign, and after the next; a million is in the benchmarks."""
    with SmtpServer(options=Options(keep_bodies=False)) as server:
        running = system(server.url)
        running.import_readers(_FEW)
        running.emit(post_event("few"))
        running.wait_sent(_FEW, 120)
        before = _peaks(running)
        running.import_readers(_MANY, "other")
        running.emit(post_event("many"))
        running.wait_sent(_FEW + _FEW + _MANY, 160)
        after = _peaks(running)
    for part, kilobytes in after.items():
        assert kilobytes <= before[part] * 1.1, f"{part}: {before[part]:,} KB, then {kilobytes:,} KB"


def _peaks(running: Running) -> dict[str, int]:
    """{part: the most resident memory that one of its processes has had, in KB}"""
    return {part: max(_peak(process.pid) for process in running.family(part)) for part in WORKERS}


def _peak(pid: int) -> int:
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text("utf-8"))
    assert found is not None
    return int(found[1])
