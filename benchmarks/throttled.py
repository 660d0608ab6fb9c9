"""A destination that throttles, or is slow, all the time: what it costs the others, and that its mail arrives."""

from __future__ import annotations

import os
import signal
import time

from benchmarks.bed import Bed, Setup
from benchmarks.lanes import NORTH, SOUTH, beside, in_turns, part
from benchmarks.report import Options, Result
from benchmarks.sinks import PythonSink

# long enough that the start, which is the same for all runs, is a small part of them
_NORTH = 120_000
# one reader in twenty is at the destination that holds its mail up
_SPREAD = (NORTH,) * 10 + (SOUTH,) + (NORTH,) * 9
_WAYS = {
    "answers 421": ("--refuse", SOUTH), "takes 5 s a message": ("--slow", SOUTH),
    "takes two at once, else 421": ("--two", SOUTH),
}  # fmt: skip


def run(options: Options) -> Result:
    north = options.size(_NORTH)
    environ = {"PRESSRUN_RETRY_BASE_SECONDS": "2", "PRESSRUN_RETRY_CAP_SECONDS": "8"}
    alone, found = beside(Setup(options.databases[0], north, environ=environ), _SPREAD, _WAYS, _relent)
    for one in found.values():
        assert one["south"]["messages"] == one["south_readers"], one
    rows = [
        (name, part(one), f"{one['beside']:,.0f}", f"{one['south']['while_busy']}/s", f"{one['south']['refused']:,}",
         f"{one['south_readers']:,} in {one['south']['then']} s")
        for name, one in found.items()
    ]  # fmt: skip
    header = (
        "the destination", "the others, of their speed alone", "mails/s", "its own meanwhile", "421s",
        "all of its own, once it takes",
    )  # fmt: skip
    how = f"{options.databases[0]}, 2 processes, Python sink, retries after 2 to 8 s, pauses as long."
    return Result(header, rows, {"alone": alone, "ways": found}, [how, in_turns(alone, found)])


def _relent(bed: Bed, sink: PythonSink) -> float:
    """The destination takes mail again; seconds until all of it is there."""
    os.kill(sink.pid, signal.SIGUSR1)
    began = time.monotonic()
    bed.wait(bed.campaign()["planned"], 180)
    return round(time.monotonic() - began, 1)
