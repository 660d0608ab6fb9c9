"""A server 20 ms and 50 ms away: how much of what two round trips a message allow is reached.

By itself a message costs two round trips: MAIL, RCPT and DATA with their answers, which may go together, then the
body with its own. Since the next message's MAIL may stand behind a body (RFC 2920 §3.1), a connection that is kept
can come down to one, which is twice what two allow.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks import posts
from benchmarks.bed import Setup, made
from benchmarks.report import Options, Result
from benchmarks.sinks import PythonSink, opened
from tests.servers import REPOSITORY

_CONNECTIONS = 20
_MILLISECONDS = (20, 50)
_SECONDS = 12


@dataclass(frozen=True)
class Far:
    """A sink behind a proxy."""

    name: str
    port: int
    pid: int


@contextmanager
def far(sink: PythonSink, milliseconds: float) -> Iterator[Far]:
    """`milliseconds` is the whole round trip."""
    command = [sys.executable, "-m", "benchmarks.proxy", "--to", str(sink.port), "--round-trip-ms", str(milliseconds)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as proxy:
        assert proxy.stdout is not None
        try:
            yield Far(sink.name, int(proxy.stdout.readline().rpartition(":")[2]), proxy.pid)
        finally:
            proxy.terminate()


def run(options: Options) -> Result:
    found = [_measure(milliseconds, options) for milliseconds in _MILLISECONDS]
    rows = [
        (f"{one['round_trip_ms']} ms", f"{one['per_second']:,.0f}", f"{one['allowed']:,.0f}", one["part"])
        for one in found
    ]
    header = ("round trip", "mails/s", "two round trips a message allow", "part of it")
    return Result(header, rows, found, [f"One chain with {_CONNECTIONS} connections, SQLite, Python sink."])


def _measure(milliseconds: float, options: Options) -> dict[str, Any]:
    allowed = _CONNECTIONS / (2 * milliseconds / 1000)
    readers = int(allowed * (_SECONDS / 4 if options.quick else _SECONDS))
    with opened(PythonSink) as sink, far(sink, milliseconds) as distant:
        with made(Setup("sqlite", readers, processes=1, connections=_CONNECTIONS), distant) as bed:
            bed.send(posts.event())
            bed.wait(readers, 120)
        seen = sink.report()
    assert seen["messages"] == seen["recipients"] == readers, seen
    # the first of each connection come together when the clock starts
    speed = round((readers - _CONNECTIONS) / (seen["last"] - seen["first"]), 1)
    return {
        "round_trip_ms": milliseconds, "per_second": speed, "allowed": allowed, "part": round(speed / allowed, 3),
        "connections": seen["connections"],
    }  # fmt: skip
