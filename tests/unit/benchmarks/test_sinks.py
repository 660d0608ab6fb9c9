"""What is read off a sink."""

from __future__ import annotations

import smtplib

import pytest

from benchmarks.posts import event, mail
from benchmarks.sinks import PythonSink, last_count, opened, steadiness


def test_a_count_cut_in_the_middle_is_not_read() -> None:
    assert last_count(b"") == 0
    assert last_count(b"sess=1 quit=0 mesg=9\rsess=1 quit=0 mesg=10\r") == 10
    assert last_count(b"mesg=9\rsess=1 quit=0 mesg=10\rsess=1 quit=0 mesg=1") == 10


@pytest.mark.parametrize(("late_speed", "expected"), [(100, 1.0), (50, 0.5)])
def test_steadiness_is_the_last_tenth_by_the_first(late_speed: int, expected: float) -> None:
    samples = [(t / 10, t * 10) for t in range(91)]
    end = samples[-1]
    samples += [(end[0] + (t + 1) * 10 / late_speed, end[1] + (t + 1) * 10) for t in range(10)]
    assert steadiness(samples) == pytest.approx(expected, rel=0.02)


def test_our_sink_counts_messages_and_recipients() -> None:
    with opened(PythonSink) as sink:
        with smtplib.SMTP("127.0.0.1", sink.port) as client:
            for reader in ("a", "b", "b"):
                client.sendmail("news@daily.example", f"{reader}@north.example", "Subject: x\r\n\r\nx\r\n")
        tally = sink.report()
    assert (tally["messages"], tally["recipients"]) == (3, 2)


def test_the_post_makes_a_mail_of_the_size_asked_for() -> None:
    sizes = [len(mail(event(size=size)["data"]["post"])) for size in (14_000, 16_384)]
    assert sizes == [pytest.approx(14_000, abs=200), pytest.approx(16_384, abs=200)]
