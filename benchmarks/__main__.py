"""The benchmarks: `python -m benchmarks [PART …] [--readers N] [--quick]`, or `make bench ARGS="PART …"`.

Each part prints a table, writes `var/bench/PART.json` and, unless it was quick, its block in `docs/benchmarks.md`.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
import time
from collections.abc import Sequence

from benchmarks import machine, report

# In this order, in some eight minutes.
USUAL = ("reference", "pipeline", "latency", "limit", "distance", "processes", "planning", "ledger", "profile")
# Each takes about as long as all of those together, or compares what is settled: they run when they are named.
NAMED = ("beside", "throttled", "sets", "million", "partitions")


def run(part: str, options: report.Options, command: str) -> bool:
    """One part, to its end; False where it failed. One that cannot run here says so and counts as no failure."""
    state, began = machine.describe(), time.monotonic()
    print(f"\n## {part}", flush=True)
    try:
        result: report.Result = importlib.import_module(f"benchmarks.{part}").run(options)
    except report.Unavailable as why:
        print(f"not run: {why}")
        return True
    except Exception as error:
        print(f"failed: {type(error).__name__}: {str(error)[-4000:]}")
        return False
    state["load_after"] = round(os.getloadavg()[0], 2)
    partial = options.quick or options.readers is not None or len(options.databases) == 1
    report.keep(part, result, state, command, page=None if partial else report.PAGE)
    print(report.table(result.header, result.rows), *result.notes, f"({time.monotonic() - began:.0f} s)", sep="\n")
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    known = f"{', '.join(USUAL)}, which run where none is named; {', '.join(NAMED)}"
    parser.add_argument("parts", nargs="*", metavar="PART", help=known)
    parser.add_argument("--readers", type=int, help="for the parts with a campaign; the page stays as it is")
    parser.add_argument("--quick", action="store_true", help="a tenth of everything; the page stays as it is")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), action="append", help="one instead of both")
    given = parser.parse_args(arguments)
    unknown = set(given.parts) - set(USUAL + NAMED)
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(USUAL + NAMED)}")
    # told to stop, it leaves nothing running
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options = report.Options(given.readers, given.quick, tuple(given.database or ("sqlite", "postgresql")))
    words = sys.argv[1:] if arguments is None else arguments
    command = " ".join(["python -m benchmarks", *words])
    done = [run(part, options, command) for part in given.parts or USUAL]
    return 0 if all(done) else 1


if __name__ == "__main__":
    sys.exit(main())
