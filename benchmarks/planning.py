"""Planning alone: from the event to the first mail and to the last row, while hardly anything is sent.

The event comes in over HTTP and everything is on; a limit of one mail a second is what leaves the planning alone.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, select

from benchmarks import posts
from benchmarks.bed import Bed, Setup, made
from benchmarks.pipeline import best_sink
from benchmarks.report import Options, Result
from worker.storage.models import CampaignRow, DeliveryRow

_READERS = 1_000_000
_A_SECOND = 1.0
_HEADER = (
    "ledger", "first mail", "planned", "rows/s", "CPU µs a row: bulk · database", "largest bulk process",
)  # fmt: skip


def run(options: Options) -> Result:
    readers = options.size(_READERS)
    with best_sink() as sink:
        found = [
            measure(Setup(database, size, overall=_A_SECOND), sink)
            for database in options.databases
            for size in (readers // 10, readers)
        ]
    return Result(_HEADER, [_row(one) for one in found], found)


def measure(setup: Setup, sink: Any) -> dict[str, Any]:
    """Seconds from the event, by the ledger's own times; CPU in µs a row, peaks in MB by group."""
    with made(setup, sink) as bed:
        account = bed.account()
        began = bed.send(posts.event())
        _wait(bed, setup.readers)
        cpu, peaks = account.cpu_us(setup.readers), account.peaks_mb()
        first, planned = _times(bed)
    return {
        "database": setup.database, "readers": setup.readers, "first_s": round(first - began, 2),
        "planned_s": round(planned - began, 2), "per_second": round(setup.readers / (planned - began)),
        "cpu_us": cpu, "peaks_mb": peaks,
    }  # fmt: skip


def _wait(bed: Bed, readers: int) -> None:
    """Until all are planned and one is sent."""
    until = time.monotonic() + 60 + readers / 1000
    while bed.campaign().get("status") in (None, "planning") or not bed.campaign()["counts"].get("sent"):
        assert time.monotonic() < until, bed.system.describe()
        time.sleep(0.25)
    assert bed.campaign()["planned"] == readers


def _times(bed: Bed) -> tuple[float, float]:
    """When the sink had taken the first mail, and when the last row was planned."""
    with bed.system.database.read() as connection:
        first = connection.execute(select(func.min(DeliveryRow.first_attempt_at))).scalar_one()
        planned = connection.execute(select(CampaignRow.planned_at)).scalar_one()
    assert isinstance(first, datetime)
    assert planned is not None
    return first.astimezone(UTC).timestamp(), planned.astimezone(UTC).timestamp()


def _row(one: dict[str, Any]) -> list[object]:
    cpu = one["cpu_us"]
    return [
        f"{one['database']}, {one['readers']:,} readers", f"{one['first_s']} s", f"{one['planned_s']} s",
        f"{one['per_second']:,}", f"{cpu['bulk']:.1f} · {cpu.get('database', 0):.1f}",
        f"{max(one['peaks_mb']['bulk']):.0f} MB",
    ]  # fmt: skip
