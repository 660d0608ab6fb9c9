"""A million readers: as fast at the end as at the start, in as much memory as a hundred thousand, planned at once."""

from __future__ import annotations

import time
from datetime import UTC
from typing import Any

from sqlalchemy import select

from benchmarks import posts
from benchmarks.bed import Bed, Setup, made
from benchmarks.pipeline import best_sink, cpu_note, measure, ours
from benchmarks.report import Options, Result
from worker.storage.models import CampaignRow

_READERS = 1_000_000
# One mail a second: what is measured then is the planning.
_HARDLY_ANY = 1.0


def run(options: Options) -> Result:
    readers = options.size(_READERS)
    found = [_both(database, readers) for database in options.databases]
    rows = []
    for one in found:
        large, small = one["large"], one["small"]
        rows.append((
            f"{large['database']}, {readers:,} readers", large["sink"], f"{large['per_second']:,.0f}",
            f"{large.get('steadiness', '–')}", f"{large['first_s']} s", f"{one['planning_s']} s",
            f"{sum(ours(large).values()):.0f}", f"{_largest(large):.0f} MB", f"{_largest(small):.0f} MB",
            round(_most_grown(large, small), 2),
        ))  # fmt: skip
    header = (
        "ledger", "sink", "mails/s", "last tenth's speed by the first's", "first mail", "planning alone",
        "CPU µs a mail", "largest process", f"at {readers // 10:,}", "most grown",
    )  # fmt: skip
    return Result(header, rows, found, [cpu_note(one["large"]) for one in found])


def _both(database: str, readers: int) -> dict[str, Any]:
    with best_sink() as sink:
        small = measure(Setup(database, readers // 10), sink)
        large = measure(Setup(database, readers), sink)
        with made(Setup(database, readers, overall=_HARDLY_ANY), sink) as bed:
            planning = _planning(bed, readers)
    return {"small": small, "large": large, "planning_s": round(planning, 2)}


def _planning(bed: Bed, readers: int) -> float:
    """Seconds from the event to the last row, by the ledger's own time."""
    began = bed.send(posts.event())
    until = time.monotonic() + 60 + readers / 1000
    while bed.campaign().get("status") in (None, "planning"):
        assert time.monotonic() < until, bed.system.describe()
        time.sleep(0.25)
    assert bed.campaign()["planned"] == readers
    with bed.system.database.read() as connection:
        planned = connection.execute(select(CampaignRow.planned_at)).scalar_one()
    assert planned is not None
    return planned.astimezone(UTC).timestamp() - began


def _largest(one: dict[str, Any]) -> float:
    return max(_peaks(one).values())


def _peaks(one: dict[str, Any]) -> dict[str, float]:
    """The largest process of each group of ours, MB."""
    return {name: max(peaks) for name, peaks in one["peaks_mb"].items() if name != "sink"}


def _most_grown(large: dict[str, Any], small: dict[str, Any]) -> float:
    """The group whose largest process grew most, as a factor."""
    before = _peaks(small)
    return max(peak / before[name] for name, peak in _peaks(large).items())
