"""Where the microseconds of a bulk worker go, by step: sampled stacks (`sampled.py`), scaled to the CPU it used."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import posts
from benchmarks.bed import Setup, made
from benchmarks.pipeline import best_sink
from benchmarks.report import Options, Result

_READERS = 100_000
# Looked for from the innermost frame outwards: the first of our own files that stands here names the step.
_STEPS = {
    "personalise": ("rendering/", "delivery/composing", "domain/tokens", "domain/identity"),
    "journal": ("delivery/journal", "delivery/books"),
    "conversation": ("delivery/transports/",),
    "tokens": ("delivery/throttling/", "delivery/limits", "delivery/spending"),
    "claim": ("delivery/claim",),
    "record": ("delivery/record", "delivery/recorder", "storage/moves"),
    "planning": ("campaigns/",),
    "hand over, pool of connections": tuple(
        f"delivery/{name}"
        for name in ("bulk", "carrier", "courier", "desk", "gate", "hop", "jobs", "lane", "press", "pulse", "shares")
    ),
}
_FRAME = re.compile(r'^  File "(.+?)", line \d+ in (.+)$')

Stack = tuple[tuple[str, str], ...]
"""(file, function), the innermost first."""


def run(options: Options) -> Result:
    readers = options.size(_READERS)
    found = {one: _measure(Setup(one, readers, bulk="benchmarks.sampled")) for one in options.databases}
    steps = list(dict.fromkeys(step for one in found.values() for step in one["steps_us"]))
    rows = [(step, *(f"{one['steps_us'].get(step, 0):.1f}" for one in found.values())) for step in steps]
    rows.append(("**all**", *(f"{sum(one['steps_us'].values()):.1f}" for one in found.values())))
    header = ("CPU µs a mail, bulk workers", *found)
    return Result(header, rows, found, [_most_often(name, one) for name, one in found.items()])


def step_of(stack: Stack) -> str:
    """The step this stack is in; `Celery and the rest` where no file of ours says."""
    for file, _ in stack:
        ours = file.rpartition("/worker/")[2] if "/worker/" in file else ""
        for step, places in _STEPS.items():
            if ours and ours.startswith(places):
                return step
    return "Celery and the rest"


def stacks(text: str) -> Iterator[Stack]:
    """Of what `faulthandler` wrote. A stack cut short at the end is left out."""
    for piece in re.split(r"(?m)^(?:Stack|Current thread|Thread).*\n", text)[1:-1]:
        yield tuple((found[1], found[2]) for line in piece.splitlines() if (found := _FRAME.match(line)))


def in_steps(found: Sequence[Stack], us: float) -> dict[str, float]:
    """`us` shared out by samples, the largest part first."""
    counted = Counter(step_of(stack) for stack in found)
    return {step: round(us * n / len(found), 1) for step, n in counted.most_common()}


def _most_often(name: str, one: dict[str, Any]) -> str:
    functions = ", ".join(f"`{place}` {n * 100 // one['samples']}%" for place, n in one["innermost"][:8])
    return f"{one['samples']:,} samples on {name}; most often in {functions}."


def _measure(setup: Setup) -> dict[str, Any]:
    with best_sink() as sink, made(setup, sink) as bed:
        account = bed.account()
        bed.send(posts.event())
        bed.wait(setup.readers, 60 + setup.readers / 100)
        us = account.cpu_us(setup.readers)["bulk"]
        found = [stack for path in bed.system.folder.glob("stacks-*.txt") for stack in stacks(path.read_text("utf-8"))]
    innermost = Counter(f"{Path(stack[0][0]).name}:{stack[0][1]}" for stack in found if stack)
    return {"steps_us": in_steps(found, us), "samples": len(found), "innermost": innermost.most_common(25)}
