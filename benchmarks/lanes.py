"""Two destinations in one campaign: how fast the north is, alone and beside a south that is held up."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from statistics import mean, median
from typing import Any

from sqlalchemy import func, select

from benchmarks import posts
from benchmarks.bed import DOMAINS, Bed, Setup, made
from benchmarks.sinks import PythonSink, opened
from worker.domain.delivery import DeliveryStatus
from worker.storage.models import DeliveryRow

NORTH, SOUTH = DOMAINS
# One says little: the same thing twice differs by a tenth.
_TURNS = 2

Then = Callable[[Bed, PythonSink], float]


def beside(
    setup: Setup, spread: Sequence[str], ways: Mapping[str, Sequence[str]], then: Then | None = None
) -> tuple[list[float], dict[str, dict[str, Any]]]:
    """The north's speed (mails/s at the sink) alone, in turns with what it is beside the south, in each of `ways` in
    which that is held up; each beside by the mean of the two alone around its turn. And the south's own figures in the
    last turn, `while_busy` being its mails/s from the event until the north was done.

    `spread`: the domains of the readers in turn. A way has options for the sink. `then` is called when the north is
    done, before the sink is asked; what it returns is the south's figure `then`.
    """
    # whole rounds, so that the north has as many readers beside the south as alone
    rounds = -(-setup.readers // spread.count(NORTH))
    north, readers = rounds * spread.count(NORTH), rounds * len(spread)
    alone = replace(setup, readers=north, domains=(NORTH,))
    together = replace(setup, readers=readers, domains=tuple(spread))
    speeds, turns = [_run(alone, north)[0]], []
    for _ in range(_TURNS):
        turns.append({name: _run(together, north, *options, then=then) for name, options in ways.items()})
        speeds.append(_run(alone, north)[0])
    found = {}
    for name in ways:
        besides = [turn[name][0] for turn in turns]
        parts = [round(one / mean(around), 3) for one, around in zip(besides, pairwise(speeds), strict=True)]
        found[name] = {
            "beside": median(besides), "parts": parts, "part": round(median(parts), 3),
            "south_readers": readers - north, "south": turns[-1][name][1],
        }  # fmt: skip
    return speeds, found


def in_turns(alone: Sequence[float], found: Mapping[str, dict[str, Any]]) -> str:
    """All that was seen, for a note."""
    speeds = ", ".join(f"{one:,.0f}" for one in alone)
    parts = "; ".join(f"{name} {', '.join(map(str, one['parts']))}" for name, one in found.items())
    return f"Alone, in turns with the others: {speeds}/s. Parts: {parts}."


def _run(setup: Setup, north: int, *options: str, then: Then | None = None) -> tuple[float, dict[str, Any]]:
    """The north's mails/s between its first and its last; what the sink saw of the south."""
    with opened(PythonSink, *options) as sink:
        with made(setup, sink) as bed:
            began = bed.send(posts.event())
            # some of the south's are among them; the rest of the north's are under way by then
            busy = bed.wait(north, 60 + north / 100) - began
            meanwhile = _sent(bed, SOUTH)
            time.sleep(2.0)
            after = then(bed, sink) if then is not None else 0.0
        seen = sink.report()
    assert seen["messages"] == seen["recipients"], "a mail came twice"
    found = seen["domains"][NORTH]
    assert found["messages"] == north, found
    south = seen["domains"].get(SOUTH, {"messages": 0, "per_second": 0.0, "busiest_second": 0})
    figures = {**south, "refused": seen["refused"], "while_busy": round(meanwhile / busy, 1), "then": after}
    return found["per_second"], figures


def _sent(bed: Bed, domain: str) -> int:
    asked = select(func.count()).select_from(DeliveryRow)
    asked = asked.where(DeliveryRow.destination == domain.partition(".")[0], DeliveryRow.status == DeliveryStatus.SENT)
    with bed.system.database.read() as connection:
        return connection.execute(asked).scalar_one()
