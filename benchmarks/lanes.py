"""Destinations of one campaign: how fast the north is, alone and beside others that are held up."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from statistics import mean, stdev
from typing import Any

from sqlalchemy import func, select

from benchmarks import posts
from benchmarks.bed import DOMAINS, Bed, Setup, made
from benchmarks.sinks import PythonSink, opened
from worker.domain.delivery import DeliveryStatus
from worker.storage.models import DeliveryRow

NORTH, SOUTH = DOMAINS
# One says little: the same thing twice differs by a tenth, and now and then by a quarter.
_TURNS = 10

Then = Callable[[Bed, PythonSink], float]
Turn = tuple[float, float, dict[str, Any]]
"""The north's speed beside the others, alone around that, and what the sink saw of the others."""


def beside(
    setup: Setup, spread: Sequence[str], ways: Mapping[str, Sequence[str]], then: Then | None = None
) -> tuple[list[float], dict[str, dict[str, Any]]]:
    """The north's speed (mails/s at the sink) alone, in turns with what it is beside the others, in each of `ways` in
    which those are held up: `parts`, each by the mean of the two alone around it, `part`, their mean, and `error`, its
    standard error. And the others' own figures in the last turn (`south`), `while_busy` being their mails/s from the
    event until the north was done.

    `spread`: the domains of the readers in turn. A way has options for the sink. `then` is called when the north is
    done, before the sink is asked; what it returns is the others' figure `then`.
    """
    # whole rounds, so that the north has as many readers beside the south as alone
    rounds = -(-setup.readers // spread.count(NORTH))
    north, readers = rounds * spread.count(NORTH), rounds * len(spread)
    alone = replace(setup, readers=north, domains=(NORTH,))
    together = replace(setup, readers=readers, domains=tuple(spread))
    speeds = [_run(alone, north)[0]]
    turns: dict[str, list[Turn]] = {name: [] for name in ways}
    # each with one alone before and one behind it: the machine is quicker in one minute than in the next
    for _ in range(_TURNS):
        for name, options in ways.items():
            speed, south = _run(together, north, *options, then=then)
            speeds.append(_run(alone, north)[0])
            turns[name].append((speed, mean(speeds[-2:]), south))
    return speeds, {name: _figures(found, readers - north) for name, found in turns.items()}


def _figures(turns: Sequence[Turn], south_readers: int) -> dict[str, Any]:
    parts = [round(one / around, 3) for one, around, _ in turns]
    return {
        "beside": mean(one for one, *_ in turns), "parts": parts, "part": round(mean(parts), 3),
        "error": round(stdev(parts) / len(parts) ** 0.5, 3),
        "south_readers": south_readers, "south": turns[-1][2],
    }  # fmt: skip


def part(found: Mapping[str, Any]) -> str:
    """For a table."""
    return f"{found['part']} ± {found['error']}"


def in_turns(alone: Sequence[float], found: Mapping[str, dict[str, Any]]) -> str:
    """All that was seen, for a note."""
    speeds = ", ".join(f"{one:,.0f}" for one in alone)
    parts = "; ".join(f"{name} {', '.join(map(str, one['parts']))}" for name, one in found.items())
    return f"Alone, in turns with the others: {speeds}/s. Parts: {parts}."


def _run(setup: Setup, north: int, *options: str, then: Then | None = None) -> tuple[float, dict[str, Any]]:
    """The north's mails/s between its first and its last; what the sink saw of the others."""
    with opened(PythonSink, *options) as sink:
        with made(setup, sink) as bed:
            began = bed.send(posts.event())
            # some of the others' are among them; the rest of the north's are under way by then
            busy = bed.wait(north, 60 + north / 100) - began
            meanwhile = _sent_elsewhere(bed)
            time.sleep(2.0)
            after = then(bed, sink) if then is not None else 0.0
        seen = sink.report()
    assert seen["messages"] == seen["recipients"], "a mail came twice"
    found = seen["domains"][NORTH]
    assert found["messages"] == north, found
    others = [one for domain, one in seen["domains"].items() if domain != NORTH]
    figures = {
        "messages": sum(one["messages"] for one in others),
        "busiest_second": max((one["busiest_second"] for one in others), default=0),
        "refused": seen["refused"], "while_busy": round(meanwhile / busy, 1), "then": after,
    }  # fmt: skip
    return found["per_second"], figures


def _sent_elsewhere(bed: Bed) -> int:
    asked = select(func.count()).select_from(DeliveryRow)
    asked = asked.where(DeliveryRow.destination != NORTH.partition(".")[0], DeliveryRow.status == DeliveryStatus.SENT)
    with bed.system.database.read() as connection:
        return connection.execute(asked).scalar_one()
