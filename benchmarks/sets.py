"""What a mail costs the ledger by the size of the sets in which it is claimed and recorded; nothing is sent.

A larger set is cheaper for each row and holds the locks longer: on SQLite, where one writer at a time is allowed, all
others wait for it.
"""

from __future__ import annotations

from benchmarks.ledger import Meter, claims_of, new_campaign, plan_all, prepared, record_all
from benchmarks.report import Options, Result
from worker.delivery.claim import Claim

_READERS = 30_000
_SIZES = (50, 250, 500, 1000)
_STEPS = ("claim", "record")


def run(options: Options) -> Result:
    readers = options.size(_READERS)
    found = {name: {size: _measure(name, readers, size) for size in _SIZES} for name in options.databases}
    rows = [
        (name, f"{size:,}", *(f"{_cpu(one, step):.1f}" for step in _STEPS),
         *(f"{_set_ms(one, step, size):.1f}" for step in _STEPS))
        for name, sizes in found.items() for size, one in sizes.items()
    ]  # fmt: skip
    header = ("ledger", "rows in a set", "claim: CPU µs a mail", "record: CPU µs a mail", "a claim: ms", "a record: ms")
    return Result(header, rows, found, [f"{readers:,} readers, one client; CPU of client and server together."])


def _measure(database: str, readers: int, size: int) -> dict[str, float]:
    with prepared(database, readers) as system:
        meter, campaign = Meter(system, readers), new_campaign(system)
        plan_all(system, campaign)
        claims: list[Claim] = []
        found = meter.of("claim", lambda: claims.extend(claims_of(system, campaign, size)))
        return found | meter.of("record", lambda: record_all(system, claims, size))


def _cpu(one: dict[str, float], step: str) -> float:
    return one[f"{step}: client CPU µs"] + one.get(f"{step}: server CPU µs", 0.0)


def _set_ms(one: dict[str, float], step: str, size: int) -> float:
    """How long one transaction takes, with nobody else there."""
    return one[f"{step}: µs of time"] * size / 1000
