"""The far server is as far as it says, and everything arrives."""

from __future__ import annotations

import smtplib
import time

from benchmarks.distance import far
from benchmarks.sinks import PythonSink, opened

_MILLISECONDS = 60.0


def test_a_round_trip_takes_its_time_and_a_large_body_comes_whole() -> None:
    body = "Subject: x\r\n\r\n" + "Seventy characters of text, of which there are many in this message.\r\n" * 20_000
    with opened(PythonSink) as sink, far(sink, _MILLISECONDS) as distant:
        with smtplib.SMTP("127.0.0.1", distant.port) as client:
            trips = [_seconds(client) for _ in range(5)]
            client.sendmail("news@daily.example", "a@north.example", body)
        tally = sink.report()
    assert (tally["messages"], tally["bytes"]) == (1, len(body))
    assert min(trips) >= _MILLISECONDS / 1000
    assert min(trips) < _MILLISECONDS / 1000 + 0.02


def _seconds(client: smtplib.SMTP) -> float:
    began = time.monotonic()
    client.docmd("RSET")
    return time.monotonic() - began
