"""A destination with a small limit: what it costs the others, and that it has what its limit allows."""

from __future__ import annotations

from typing import Any

from benchmarks.bed import PLENTY, Setup
from benchmarks.lanes import NORTH, SOUTH, beside, in_turns, part
from benchmarks.report import Options, Result

_READERS = 90_000
_SLOW = 10.0
# one reader in a hundred is in the slow south
_SPREAD = (NORTH,) * 50 + (SOUTH,) + (NORTH,) * 49
# … or one in twelve at one of eight providers, which take 20 a second each: as many claims as one has rows
_EIGHT = tuple(f"slow{number}.example" for number in range(8))
_EIGHT_PACE = 20.0
_EIGHT_SPREAD = tuple(domain for slow in _EIGHT for domain in (*(NORTH,) * 11, slow))


def run(options: Options) -> Result:
    readers, first = options.size(_READERS), options.databases[0]
    one, eight = f"one of {_SLOW:.0f}/s", f"eight of {_EIGHT_PACE:.0f}/s"
    cases = [
        *((one, Setup(name, readers, limits={NORTH: PLENTY, SOUTH: _SLOW}), _SPREAD) for name in options.databases),
        (eight, Setup(first, readers, limits={NORTH: PLENTY, **dict.fromkeys(_EIGHT, _EIGHT_PACE)}), _EIGHT_SPREAD),
    ]  # fmt: skip
    data: dict[str, Any] = {}
    rows, notes = [], ["Two processes, Python sink."]
    for what, setup, spread in cases:
        alone, ways = beside(setup, spread, {f"{what}, {setup.database}": ()})
        (name, found), *_ = ways.items()
        data[name] = {"alone": alone, **found}
        south = found["south"]
        rows.append(
            (what, setup.database, part(found), f"{found['beside']:,.0f}", f"{south['while_busy']}/s",
             south["busiest_second"])
        )  # fmt: skip
        notes.append(in_turns(alone, ways))
    header = (
        "beside", "ledger", "the other, of its speed alone", "mails/s", "theirs meanwhile", "their fullest second",
    )  # fmt: skip
    return Result(header, rows, data, notes)
