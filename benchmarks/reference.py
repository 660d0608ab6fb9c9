"""What the rest is measured by: postfix's `smtp-source`, and the Celery task one would write first."""

from __future__ import annotations

from benchmarks import naive, postfix
from benchmarks.posts import MAIL_BYTES
from benchmarks.report import Options, Result, Unavailable
from benchmarks.sinks import PostfixSink, PythonSink, Sink, opened

_MESSAGES = 60_000
_NAIVE = 2_000


def run(options: Options) -> Result:
    messages = max(2_000, _MESSAGES // 10 if options.quick else _MESSAGES)
    rows: list[tuple[str, str, str]] = []
    data: dict[str, float | str] = {}
    try:
        with opened(PostfixSink) as sink:
            data |= _source(sink, messages)
            rows += [
                ("`smtp-source -d -s 16`: connections kept", sink.name, f"{data['source']:,.0f}"),
                ("`smtp-source -s 16`: one message a connection", sink.name, f"{data['source_reconnecting']:,.0f}"),
            ]
            data["naive"] = naive.speed(sink.port, options.size(_NAIVE))
    except Unavailable as why:
        data["unavailable"] = str(why)
        with opened(PythonSink) as sink:
            data["naive"] = naive.speed(sink.port, options.size(_NAIVE))
    rows.append(("naive Celery task, one for each recipient, 2 processes", sink.name, f"{data['naive']:,.0f}"))
    notes = [str(data["unavailable"])] if "unavailable" in data else [f"Messages of {MAIL_BYTES:,} bytes."]
    return Result(("reference", "sink", "mails/s"), rows, data, notes)


def _source(sink: Sink, messages: int) -> dict[str, float]:
    # the first thousands warm the sink up
    postfix.source_speed(sink.port, messages // 10)
    return {
        "source": round(postfix.source_speed(sink.port, messages)),
        "source_reconnecting": round(postfix.source_speed(sink.port, messages, keep=False)),
    }
