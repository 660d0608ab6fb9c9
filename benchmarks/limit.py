"""Rate limits: 1,000 a second over four processes, as granted and at the receiver."""

from __future__ import annotations

from typing import Any

from benchmarks import posts, throttling
from benchmarks.bed import Setup, made
from benchmarks.report import Options, Result
from benchmarks.sinks import PythonSink, opened
from tests.servers import running_redis
from worker.delivery.throttling import Limit

_LIMIT = 1000.0
_PROCESSES = 4
_READERS = 10_000


def run(options: Options) -> Result:
    data: dict[str, Any] = {
        "the limiter alone, as granted": _granted(4 if options.quick else 10),
        **{f"{database}, at the receiver": _received(
            Setup(database, options.size(_READERS), _PROCESSES, overall=_LIMIT)) for database in options.databases},
    }  # fmt: skip
    rows = [(name, f"{one['average']:,.0f}", f"{one['fullest']:,}") for name, one in data.items()]
    notes = [f"{_LIMIT:,.0f}/s, {_PROCESSES} processes, Python sink."]
    return Result(("seen", "mails/s on average", "fullest second"), rows, data, notes)


def _granted(seconds: float) -> dict[str, float]:
    """The limiter alone, by Redis' clock: the tokens it gave to four processes that ask all the time."""
    with running_redis() as redis:
        return throttling.measure(redis.url, Limit("overall", _LIMIT, 1), seconds, _PROCESSES)


def _received(setup: Setup) -> dict[str, Any]:
    with opened(PythonSink) as sink:
        with made(setup, sink) as bed:
            bed.send(posts.event())
            bed.wait(setup.readers, 60 + setup.readers / _LIMIT * 2)
        seen = sink.report()
    assert seen["messages"] == seen["recipients"] == setup.readers, seen
    return {"average": seen["per_second"], "fullest": seen["busiest_second"], "limit": _LIMIT}
