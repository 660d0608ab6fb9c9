"""End to end: from the event to the last record, everything on, beside `smtp-source` and the naive task.

Both run before and after each database, `smtp-source -s 16` with one message a connection (its default) and with
connections kept (`-d`, as ours are): the machine is as busy for all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from statistics import mean
from typing import Any

from benchmarks import naive, postfix, posts
from benchmarks.bed import Setup, made
from benchmarks.report import Options, Result, Unavailable
from benchmarks.sinks import PostfixSink, PythonSink, Sink, opened, steadiness

_READERS = 100_000
_HEADER = (
    "ledger", "sink", "mails/s, event to last record", "of smtp-source", "of smtp-source -d",
    "times the naive task", "first mail", "last record", "campaign finished", "CPU µs a mail", "largest process",
)  # fmt: skip


@contextmanager
def best_sink() -> Iterator[Any]:
    """`smtp-sink` where it is to be had, else our own."""
    try:
        kind: type[PostfixSink] | type[PythonSink] = PostfixSink if postfix.tools() else PythonSink
    except Unavailable:
        kind = PythonSink
    with opened(kind) as sink:
        yield sink


def run(options: Options) -> Result:
    readers = options.size(_READERS)
    with best_sink() as sink:
        references, figures = [_references(sink, readers)], []
        for database in options.databases:
            figures.append(measure(Setup(database, readers), sink))
            references.append(_references(sink, readers))
    for index, one in enumerate(figures):
        before, after = references[index : index + 2]
        for name in before:
            speed = mean((before[name], after[name]))
            one[name], one[f"of_{name}"] = round(speed), round(one["per_second"] / speed, 2)
    notes = [cpu_note(one) for one in figures]
    return Result(_HEADER, [row(one) for one in figures], {"runs": figures, "references": references}, notes)


def measure(setup: Setup, sink: Sink, size: int = posts.MAIL_BYTES) -> dict[str, Any]:
    """One campaign; what came of it, in seconds and mails a second. Raises where anything is not `sent` once."""
    if isinstance(sink, PostfixSink):
        sink.reset()
    with made(setup, sink) as bed:
        account = bed.account()
        began = bed.send(posts.event(size=size))
        recorded = bed.wait(setup.readers, 60 + setup.readers / 100, account)
        cpu = account.cpu_us(setup.readers)
        finished, peaks, private = bed.wait_finished(), account.peaks_mb(), account.private_mb()
        counts = bed.campaign()["counts"]
    assert counts == {"sent": setup.readers}, counts
    found = {
        "database": setup.database, "readers": setup.readers, "processes": setup.processes,
        "connections": setup.connections, "sink": sink.name, "bytes": size,
        "per_second": round(setup.readers / (recorded - began), 1), "recorded_s": round(recorded - began, 2),
        "finished_s": round(finished - began, 2), "cpu_us": cpu, "peaks_mb": peaks, "private_mb": private,
        "first_s": None,
    }  # fmt: skip
    if isinstance(sink, PostfixSink):
        assert sink.messages() == setup.readers, f"{sink.messages():,} mails at the sink"
        found["first_s"] = round(sink.samples[0][0] - began, 2)
        found["steadiness"] = round(steadiness(sink.samples), 2)
    return found


def ours(one: dict[str, Any]) -> dict[str, float]:
    """CPU without the sink's."""
    return {name: us for name, us in one["cpu_us"].items() if name != "sink"}


def row(one: dict[str, Any]) -> list[object]:
    largest = max((max(peaks), name) for name, peaks in one["peaks_mb"].items() if name != "sink")
    return [
        f"{one['database']}, {one['readers']:,} readers", one["sink"], f"{one['per_second']:,.0f}",
        one.get("of_smtp_source") or "–", one.get("of_smtp_source_kept") or "–",
        f"{one['of_naive']:.0f}", f"{one['first_s']} s", f"{one['recorded_s']} s", f"{one['finished_s']} s",
        f"{sum(ours(one).values()):.0f}", f"{largest[0]:.0f} MB ({largest[1]})",
    ]  # fmt: skip


def cpu_note(one: dict[str, Any]) -> str:
    parts = ", ".join(f"{name} {us:.0f}" for name, us in one["cpu_us"].items() if us >= 0.5)
    connections = f"{one['processes']} × {one['connections']} connections at a time"
    return f"CPU µs a mail, {one['database']}: {parts}. {connections}."


def _references(sink: Sink, readers: int) -> dict[str, float]:
    """Mails a second: `smtp-source` with a connection for each and with connections kept, and the naive task."""
    found = {"naive": naive.speed(sink.port, max(200, readers // 50))}
    if isinstance(sink, PostfixSink):
        messages = max(5_000, min(readers, 40_000))
        for name, keep in (("smtp_source", False), ("smtp_source_kept", True)):
            found[name] = postfix.source_speed(sink.port, messages, keep=keep)
    return {name: round(speed, 1) for name, speed in found.items()}
