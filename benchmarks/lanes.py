"""Two destinations in one campaign: how fast the north is, alone and beside a south that is held up."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import mean
from typing import Any

from sqlalchemy import func, select

from benchmarks import posts
from benchmarks.bed import DOMAINS, Bed, Setup, made
from benchmarks.sinks import PythonSink, opened
from worker.domain.delivery import DeliveryStatus
from worker.storage.models import DeliveryRow

NORTH, SOUTH = DOMAINS

Then = Callable[[Bed, PythonSink], None]


def beside(setup: Setup, spread: Sequence[str], *refusing: str, then: Then | None = None) -> dict[str, Any]:
    """The north's speed (mails/s at the sink) alone, beside the south, and alone again; the south's own figures,
    `while_busy` being its mails/s from the event until the north was done.

    `spread`: the domains of the readers in turn. `refusing`: options of the sink while both are there; `then` is
    called when the north is done, before the sink is asked.
    """
    # whole rounds, so that the north has as many readers beside the south as alone
    rounds = -(-setup.readers // spread.count(NORTH))
    north, readers = rounds * spread.count(NORTH), rounds * len(spread)
    alone = replace(setup, readers=north, domains=(NORTH,))
    first, _ = _run(alone, north)
    both, south = _run(replace(setup, readers=readers, domains=tuple(spread)), north, *refusing, then=then)
    second, _ = _run(alone, north)
    return {
        "alone": [first, second], "beside": both, "part": round(both / mean([first, second]), 3),
        "south_readers": readers - north, "south": south,
    }  # fmt: skip


def _run(setup: Setup, north: int, *options: str, then: Then | None = None) -> tuple[float, dict[str, Any]]:
    """The north's mails/s between its first and its last; what the sink saw of the south."""
    with opened(PythonSink, *options) as sink:
        with made(setup, sink) as bed:
            began = bed.send(posts.event())
            # some of the south's are among them; the rest of the north's are under way by then
            busy = bed.wait(north, 60 + north / 100) - began
            meanwhile = _sent(bed, SOUTH)
            time.sleep(2.0)
            if then is not None:
                then(bed, sink)
        seen = sink.report()
    assert seen["messages"] == seen["recipients"], "a mail came twice"
    found = seen["domains"][NORTH]
    assert found["messages"] == north, found
    south = seen["domains"].get(SOUTH, {"messages": 0, "per_second": 0.0, "busiest_second": 0})
    return found["per_second"], {**south, "refused": seen["refused"], "while_busy": round(meanwhile / busy, 1)}


def _sent(bed: Bed, domain: str) -> int:
    asked = select(func.count()).select_from(DeliveryRow)
    asked = asked.where(DeliveryRow.destination == domain.partition(".")[0], DeliveryRow.status == DeliveryStatus.SENT)
    with bed.system.database.read() as connection:
        return connection.execute(asked).scalar_one()
