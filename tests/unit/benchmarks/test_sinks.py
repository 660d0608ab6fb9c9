"""What is read off a sink."""

from __future__ import annotations

import os
import signal
import smtplib
import time
from contextlib import ExitStack

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


def _sent(port: int, domain: str) -> int:
    """Seconds, whole, that a message took; -1 where it was refused."""
    began = time.monotonic()
    try:
        with smtplib.SMTP("127.0.0.1", port) as client:
            client.sendmail("news@daily.example", f"reader@{domain}", "Subject: x\r\n\r\nx\r\n")
    except smtplib.SMTPRecipientsRefused:
        return -1
    return int(time.monotonic() - began)


def test_our_sink_refuses_and_dawdles_until_it_is_told_to_stop() -> None:
    with opened(PythonSink, "--refuse", "refused.example", "--slow", "slow.example") as sink:
        assert [_sent(sink.port, domain) for domain in ("refused.example", "slow.example", "other.example")] == [
            -1, 5, 0
        ]  # fmt: skip
        os.kill(sink.pid, signal.SIGUSR1)
        assert [_sent(sink.port, domain) for domain in ("refused.example", "slow.example")] == [0, 0]
        tally = sink.report()
    assert (tally["messages"], tally["refused"]) == (4, 1)


def test_our_sink_takes_two_messages_at_once() -> None:
    with opened(PythonSink, "--two", "two.example") as sink, ExitStack() as stack:
        clients = [stack.enter_context(smtplib.SMTP("127.0.0.1", sink.port)) for _ in range(4)]
        for client in clients:
            client.ehlo()
            client.mail("news@daily.example")
        assert [client.rcpt("reader@two.example")[0] for client in clients[:3]] == [250, 250, 421]
        clients[0].data("Subject: x\r\n\r\nx\r\n")
        assert clients[3].rcpt("reader@two.example")[0] == 250
        assert sink.report()["refused"] == 1
