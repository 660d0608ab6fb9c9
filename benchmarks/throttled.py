"""A destination that answers 421 all the time: what it costs the others, and that its mail arrives when it stops."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from benchmarks.bed import Bed, Setup
from benchmarks.lanes import NORTH, SOUTH, beside, in_turns
from benchmarks.report import Options, Result
from benchmarks.sinks import PythonSink

# long enough that the start, which is the same for all three runs, is a small part of them
_NORTH = 120_000
# one reader in twenty is at the destination that refuses
_SPREAD = (NORTH,) * 10 + (SOUTH,) + (NORTH,) * 9


def run(options: Options) -> Result:
    found: dict[str, Any] = {}

    def relent(bed: Bed, sink: PythonSink) -> None:
        """The destination takes mail again; until all of it is there."""
        os.kill(sink.pid, signal.SIGUSR1)
        began = time.monotonic()
        bed.wait(bed.campaign()["planned"], 180)
        found["arrived_s"] = round(time.monotonic() - began, 1)

    north = options.size(_NORTH)
    environ = {"PRESSRUN_RETRY_BASE_SECONDS": "2", "PRESSRUN_RETRY_CAP_SECONDS": "8"}
    setup = Setup(options.databases[0], north, environ=environ)
    found |= beside(setup, _SPREAD, "--refuse", SOUTH, then=relent)
    assert found["south"]["messages"] == found["south_readers"], found
    row = (
        f"{found['part']}", f"{found['beside']:,.0f}",
        f"{found['south']['refused']:,}", f"{found['south_readers']:,} in {found['arrived_s']} s",
    )  # fmt: skip
    header = ("the others, of their speed alone", "mails/s", "421s", "its own, once it takes")
    how = f"{options.databases[0]}, 2 processes, Python sink, retries after 2 to 8 s, pauses as long; medians."
    return Result(header, [row], found, [how, in_turns(found)])
