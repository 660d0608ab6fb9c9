from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.delivery.transports.commands import body, mail_command, rcpt_command, refusal
from worker.delivery.transports.offers import Offers, read_offers
from worker.domain.delivery import Reason
from worker.domain.message import Envelope, Message
from worker.domain.replies import Outcome, Stage, judge

ALL = Offers(pipelining=True, eight_bit=True, size=1000, smtputf8=True)
NOTHING = Offers()
PLAIN = Envelope("b+1-x@d.example", "r@e.example")
UTF8 = Envelope("b+1-x@d.example", "jürgen@e.example")


@pytest.mark.parametrize(
    ("envelope", "message", "offers", "command"),
    [
        (PLAIN, Message(b"abc"), ALL, b"MAIL FROM:<b+1-x@d.example> SIZE=3\r\n"),
        (PLAIN, Message(b"abc"), NOTHING, b"MAIL FROM:<b+1-x@d.example>\r\n"),
        (PLAIN, Message(b"\xc3\xbc"), ALL, b"MAIL FROM:<b+1-x@d.example> SIZE=2 BODY=8BITMIME\r\n"),
        (UTF8, Message(b"abc"), ALL, b"MAIL FROM:<b+1-x@d.example> SIZE=3 SMTPUTF8\r\n"),
        (Envelope("", "r@e.example"), Message(b"abc"), NOTHING, b"MAIL FROM:<>\r\n"),
    ],
)
def test_mail_says_what_is_needed_and_no_more(
    envelope: Envelope, message: Message, offers: Offers, command: bytes
) -> None:
    assert refusal(envelope, message, offers) is None
    assert mail_command(envelope, message, offers) == command


def test_an_address_goes_out_in_utf8() -> None:
    assert rcpt_command(UTF8) == "RCPT TO:<jürgen@e.example>\r\n".encode()


@pytest.mark.parametrize(
    ("envelope", "message", "offers", "stage", "outcome", "reason"),
    [
        (UTF8, Message(b"a"), NOTHING, Stage.MAIL, Outcome.FAULT, Reason.SMTPUTF8_UNAVAILABLE),
        (PLAIN, Message(b"a" * 1001), ALL, Stage.MAIL, Outcome.FAULT, Reason.OUR_FAULT),
        (PLAIN, Message(b"\xff"), NOTHING, Stage.MAIL, Outcome.FAULT, Reason.OUR_FAULT),
        (Envelope("a@b.example>\r\nRCPT TO:<x@y.example", "r@e.example"), Message(b"a"), ALL, Stage.MAIL, Outcome.FAULT,
         Reason.OUR_FAULT),
        (Envelope("a@b.example", ""), Message(b"a"), ALL, Stage.RCPT, Outcome.RECIPIENT, Reason.BAD_ADDRESS),
        (Envelope("a@b.example", "r" * 250 + "@e.example"), Message(b"a"), ALL, Stage.RCPT, Outcome.RECIPIENT,
         Reason.BAD_ADDRESS),
    ],
)
def test_what_cannot_be_offered_is_refused_by_ourselves(
    envelope: Envelope, message: Message, offers: Offers, stage: Stage, outcome: Outcome, reason: Reason
) -> None:
    refused = refusal(envelope, message, offers)
    assert refused is not None
    assert refused[0] is stage
    found = judge(refused[1], stage)
    assert (found.outcome, found.reason) == (outcome, reason)


@pytest.mark.parametrize("character", [*"\r\n\0\t \x7f<>\x85\u2028", "\x1b", "\udcff"])
def test_no_address_can_end_its_command(character: str) -> None:
    for address in (f"r{character}@e.example", f"{character}r@e.example", f"r@e.example{character}"):
        refused = refusal(Envelope("a@b.example", address), Message(b"a"), ALL)
        assert refused is not None
        assert refused[1].enhanced == "5.1.3"
        assert refusal(Envelope(address, "r@e.example"), Message(b"a"), ALL) is not None


@given(st.text(max_size=40), st.text(max_size=40))
def test_whatever_is_not_refused_is_one_line_each(mail_from: str, rcpt_to: str) -> None:
    envelope = Envelope(mail_from, rcpt_to)
    if refusal(envelope, Message(b"a"), ALL) is None:
        for command in (mail_command(envelope, Message(b"a"), ALL), rcpt_command(envelope)):
            assert command.count(b"\n") == command.count(b"\r") == 1
            assert command.count(b">") == 1


@pytest.mark.parametrize(
    ("message", "wire"),
    [
        (b"a\r\n", b"a\r\n.\r\n"),
        (b"a", b"a\r\n.\r\n"),
        (b"", b"\r\n.\r\n"),
        (b".\r\n", b"..\r\n.\r\n"),
        (b"a\r\n.\r\nb\r\n", b"a\r\n..\r\nb\r\n.\r\n"),
        (b"a\r\n..b\r\n", b"a\r\n...b\r\n.\r\n"),
        (b"a.\r\nb.c\r\n", b"a.\r\nb.c\r\n.\r\n"),
        # a lone LF before the dot: some servers would end here (SMTP smuggling)
        (b"a\n.\r\nMAIL FROM:<x@y>\r\n", b"a\n..\r\nMAIL FROM:<x@y>\r\n.\r\n"),
        (b"a\r\n.", b"a\r\n..\r\n.\r\n"),
    ],
)
def test_the_body_ends_once(message: bytes, wire: bytes) -> None:
    assert body(Message(message)) == wire


@given(st.lists(st.sampled_from([b".", b"..", b"a", b".a", b"", b"a."]), max_size=12))
def test_a_receiver_gets_back_what_was_given(lines: list[bytes]) -> None:
    message = b"".join(line + b"\r\n" for line in lines)
    wire = body(Message(message))
    end = (b"\r\n" + wire).index(b"\r\n.\r\n")
    assert end == len(wire) - 3  # the first dot alone in a line is the last one
    unstuffed = re.sub(rb"(?m)^\.", b"", wire[: -len(b".\r\n")])
    assert unstuffed == (message or b"\r\n")


@pytest.mark.parametrize(
    ("lines", "offers"),
    [
        ([b"250 host"], Offers()),
        ([b"250-host", b"250-PIPELINING", b"250-8BITMIME", b"250-SIZE 1000", b"250-SMTPUTF8", b"250 STARTTLS"],
         Offers(pipelining=True, eight_bit=True, size=1000, smtputf8=True, starttls=True)),
        ([b"250-host", b"250-pipelining", b"250-size", b"250 auth plain login"],
         Offers(pipelining=True, size=0, auth=frozenset({"PLAIN", "LOGIN"}))),
        ([b"250-host", b"250-AUTH=LOGIN PLAIN", b"250 AUTH LOGIN XOAUTH2"],
         Offers(auth=frozenset({"PLAIN", "LOGIN", "XOAUTH2"}))),
        ([b"250-PIPELINING", b"250-SIZE lots", b"250-", b"250 \xff"], Offers(size=0)),
    ],
)
def test_offers_are_read(lines: list[bytes], offers: Offers) -> None:
    assert read_offers(lines) == offers
