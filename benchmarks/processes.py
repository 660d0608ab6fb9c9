"""Throughput over 1, 2 and 4 bulk processes that share one campaign with no coordination but the ledger."""

from __future__ import annotations

from benchmarks.bed import Setup
from benchmarks.pipeline import best_sink, measure, ours
from benchmarks.report import Options, Result

_READERS = 60_000
_PROCESSES = (1, 2, 4)


def run(options: Options) -> Result:
    with best_sink() as sink:
        found = [
            measure(Setup(database, options.size(_READERS), processes), sink)
            for database in options.databases
            for processes in _PROCESSES
        ]
    rows = [
        (one["database"], one["processes"], one["sink"], f"{one['per_second']:,.0f}", f"{sum(ours(one).values()):.0f}")
        for one in found
    ]
    return Result(("ledger", "bulk processes", "sink", "mails/s", "CPU µs a mail"), rows, found)
