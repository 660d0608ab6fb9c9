"""Rate limits: 1,000 a second over four processes, as granted and at the receiver; and one slow destination of two."""

from __future__ import annotations

from typing import Any

from benchmarks import posts, throttling
from benchmarks.bed import PLENTY, Setup, made
from benchmarks.lanes import NORTH, SOUTH, beside, in_turns
from benchmarks.report import Options, Result
from benchmarks.sinks import PythonSink, opened
from tests.servers import running_redis
from worker.delivery.throttling import Limit

_LIMIT = 1000.0
_SLOW = 10.0
_PROCESSES = 4
_READERS = 10_000
_NORTH = 90_000
# one reader in a hundred is in the slow south
_SPREAD = (NORTH,) * 50 + (SOUTH,) + (NORTH,) * 49
# … or one in twelve at one of eight providers, which take 20 a second each: as many claims as one has rows
_EIGHT = tuple(f"slow{number}.example" for number in range(8))
_EIGHT_PACE = 20.0
_EIGHT_SPREAD = tuple(domain for slow in _EIGHT for domain in (*(NORTH,) * 11, slow))


def run(options: Options) -> Result:
    data: dict[str, Any] = {
        "granted": _granted(4 if options.quick else 10),
        **{database: _received(Setup(database, options.size(_READERS), _PROCESSES, overall=_LIMIT))
           for database in options.databases},
    }  # fmt: skip
    lanes, notes = {}, [f"{_PROCESSES} processes, Python sink; two destinations with 2 processes."]
    for name in options.databases:
        setup = Setup(name, options.size(_NORTH), limits={NORTH: PLENTY, SOUTH: _SLOW})
        alone, found = beside(setup, _SPREAD, {name: ()})
        lanes[name] = {"alone": alone, **found[name]}
        notes.append(in_turns(alone, found))
        if name == options.databases[0]:
            setup = Setup(name, options.size(_NORTH), limits={NORTH: PLENTY, **dict.fromkeys(_EIGHT, _EIGHT_PACE)})
            alone, found = beside(setup, _EIGHT_SPREAD, {f"{name}, eight": ()})
            eight = found[f"{name}, eight"]
            notes.append(in_turns(alone, found))
    data |= {"lanes": lanes, "eight": eight}
    rows = [
        (f"{_LIMIT:,.0f}/s, limiter alone, as granted", f"{data['granted']['average']:,.0f}/s",
         f"{data['granted']['fullest']:,}"),
        *((f"{_LIMIT:,.0f}/s, {name}, at the receiver", f"{data[name]['average']:,.0f}/s",
           f"{data[name]['fullest']:,}") for name in options.databases),
        *((f"slow destination, {_SLOW:.0f}/s, while the other runs, {name}", f"{one['south']['while_busy']}/s",
           one["south"]["busiest_second"]) for name, one in lanes.items()),
        *((f"the other beside it, {name}: {one['part']} of its speed alone", f"{one['beside']:,.0f}/s", "–")
          for name, one in lanes.items()),
        (f"beside eight of {_EIGHT_PACE:.0f}/s, {options.databases[0]}: {eight['part']} of its speed alone",
         f"{eight['beside']:,.0f}/s", eight["south"]["busiest_second"]),
        ("those eight meanwhile", f"{eight['south']['while_busy']}/s", "–"),
    ]  # fmt: skip
    return Result(("limit", "average", "fullest second"), rows, data, notes)


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
