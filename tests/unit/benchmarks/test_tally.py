"""What our own sink counts."""

from __future__ import annotations

import json
import os
import signal
import smtplib

import pytest

from benchmarks.sinks import PythonSink, opened
from benchmarks.tally import Tally, busiest_second, per_second


def test_the_fullest_second_may_begin_anywhere() -> None:
    assert busiest_second([]) == 0
    assert busiest_second([0.0, 0.6, 0.9, 1.5, 1.59, 3.0]) == 4
    # a second is half open: what is exactly one later belongs to the next
    assert busiest_second([0.0, 1.0]) == 1


def test_speed_is_between_the_first_and_the_last() -> None:
    assert per_second([]) == per_second([1.0]) == 0.0
    assert per_second([0.0, 0.5, 1.0]) == 2.0


def test_domains_are_told_apart_and_a_double_shows() -> None:
    tally = Tally(watch=b"signup")
    for recipient in (b"a@north.example", b"a@north.example", b"signup1@south.example"):
        tally.message(recipient, 10)
    found = json.loads(tally.report(0.0))
    assert (found["messages"], found["recipients"], found["bytes"]) == (3, 2, 30)
    assert {name: one["messages"] for name, one in found["domains"].items()} == {"north.example": 2, "south.example": 1}
    assert list(found["watched"]) == ["signup1@south.example"]
    assert found["first"] <= found["watched"]["signup1@south.example"] <= found["last"]


def test_a_refused_domain_gets_421_and_a_closed_line_until_the_sink_relents() -> None:
    message = "Subject: x\r\n\r\nx\r\n"
    with opened(PythonSink, "--refuse", "south.example") as sink:
        with smtplib.SMTP("127.0.0.1", sink.port) as client:
            client.sendmail("news@daily.example", "a@north.example", message)
            with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
                client.sendmail("news@daily.example", "a@south.example", message)
        assert refused.value.recipients["a@south.example"][0] == 421
        os.kill(sink.pid, signal.SIGUSR1)
        with smtplib.SMTP("127.0.0.1", sink.port) as client:
            client.sendmail("news@daily.example", "a@south.example", message)
        tally = sink.report()
    assert (tally["messages"], tally["refused"]) == (2, 1)
