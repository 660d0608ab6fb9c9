from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.delivery.transports.reading import LINE_LIMIT, REPLY_LIMIT, TEXT_LIMIT, ReplyReader, read_reply
from worker.domain.replies import Reply


def read(data: bytes) -> list[Reply]:
    reader = ReplyReader()
    replies = [read_reply(lines) for lines in reader.feed(data)]
    assert not reader.fault
    assert reader.empty
    return replies


@pytest.mark.parametrize(
    ("data", "reply"),
    [
        (b"250 2.1.0 Ok\r\n", Reply(250, "2.1.0", "Ok")),
        (b"250 Ok\r\n", Reply(250, "", "Ok")),
        (b"250\r\n", Reply(250)),
        (b"250 \r\n", Reply(250)),
        (b"250 2.0.0\r\n", Reply(250, "2.0.0")),
        (b"250 Ok\n", Reply(250, "", "Ok")),
        (b"354 End data with <CR><LF>.<CR><LF>\r\n", Reply(354, "", "End data with <CR><LF>.<CR><LF>")),
        (b"550-5.1.1 The account\r\n550-5.1.1 does not exist\r\n550 5.1.1 gsmtp\r\n",
         Reply(550, "5.1.1", "The account does not exist gsmtp")),
        (b"250-one\r\n250-\r\n250 two\r\n", Reply(250, "", "one  two")),
        # the code of the last line counts; a second enhanced code is text
        (b"250-2.0.0 fine\r\n451 4.3.0 not fine\r\n", Reply(451, "2.0.0", "fine 4.3.0 not fine")),
        (b"550 5.1.1234 odd\r\n", Reply(550, "", "5.1.1234 odd")),
        (b"550 9.1.1 odd\r\n", Reply(550, "", "9.1.1 odd")),
        (b"550 5.7.1: odd\r\n", Reply(550, "", "5.7.1: odd")),
        (b"550 5.1.1 caf\xe9\r\n", Reply(550, "5.1.1", "caf\ufffd")),
        ("550 5.1.1 café\r\n".encode(), Reply(550, "5.1.1", "café")),
        (b"550 5.1.1 a\0b\x1b[31mc\rd\r\n", Reply(550, "5.1.1", "a b [31mc d")),
        (b"250 " + b"x" * 7000 + b"\r\n", Reply(250, "", "x" * TEXT_LIMIT)),
    ],
)
def test_a_reply_is_read(data: bytes, reply: Reply) -> None:
    assert read(data) == [reply]


@pytest.mark.parametrize(
    ("data", "before", "fault"),
    [
        (b"garbage\r\n", 0, "not an SMTP reply: b'garbage"),
        (b"HTTP/1.1 400 Bad Request\r\n", 0, "not an SMTP reply"),
        (b"\r\n", 0, "not an SMTP reply"),
        (b"25\r\n", 0, "not an SMTP reply"),
        (b"2500 ok\r\n", 0, "not an SMTP reply"),
        (b"150 ok\r\n", 0, "not an SMTP reply"),
        (b"650 ok\r\n", 0, "not an SMTP reply"),
        (b"\xb2\xb2\xb2 ok\r\n", 0, "not an SMTP reply"),
        # what was whole before it still counts
        (b"550 no\r\n250 ok\r\ngarbage\r\n250 ok\r\n", 2, "not an SMTP reply"),
        (b"250 " + b"x" * LINE_LIMIT, 0, "over"),
        (b"250 " + b"x" * LINE_LIMIT + b"\r\n", 0, "over"),
        (b"250-" + b"x" * 1000 + b"\r\n", 0, ""),
        ((b"250-" + b"x" * 1000 + b"\r\n") * (REPLY_LIMIT // 1000 + 1), 0, "over"),
    ],
)
def test_what_cannot_be_a_reply_is_a_fault(data: bytes, before: int, fault: str) -> None:
    reader = ReplyReader()
    assert len(reader.feed(data)) == before
    assert fault in reader.fault
    assert bool(fault) == bool(reader.fault)


@given(st.lists(st.integers(0, 60), max_size=8))
def test_where_the_packets_are_cut_makes_no_difference(cuts: list[int]) -> None:
    data = b"250-2.1.0 one\r\n250 2.1.0 two\r\n550 5.1.1 no\r\n354 go\r\n421 bye\n"
    reader, replies = ReplyReader(), []
    edges = [0, *sorted(cuts), len(data)]
    for start, end in pairwise(edges):
        replies += [read_reply(lines) for lines in reader.feed(data[start:end])]
    assert [reply.code for reply in replies] == [250, 550, 354, 421]
    assert replies == read(data)


@given(st.binary(max_size=300))
def test_no_bytes_raise(data: bytes) -> None:
    for lines in ReplyReader().feed(data):
        reply = read_reply(lines)
        assert 200 <= reply.code < 600
        assert not set(reply.text) & set("\0\r\n")
