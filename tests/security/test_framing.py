"""A request that could be read as two: no proxy in front of us may disagree with us on where it ends."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.security.conftest import HUNG_UP

Wire = Callable[..., bytes]
HEAD = b"POST /v1/events HTTP/1.1\r\nHost: mail.blog.example\r\n"
SMUGGLED = b"GET /healthz HTTP/1.1\r\nHost: smuggled.example\r\n\r\n"
pytestmark = pytest.mark.parametrize("backend", ["sqlite"])

REFUSED = {
    "two lengths that differ": b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
    "a negative length": b"Content-Length: -1\r\n\r\n",
    "a length with a sign": b"Content-Length: +5\r\n\r\nabcde",
    "a length in superscript": b"Content-Length: \xb2\r\n\r\nab",
    "a length in hexadecimal": b"Content-Length: 0x5\r\n\r\nabcde",
    "an unknown coding": b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "two codings": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "a space before the colon": b"Content-Length : 5\r\n\r\nabcde",
    "a chunk without a size": b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
    "a bare CR in a header": b"X-Name: a\rb\r\nContent-Length: 0\r\n\r\n",
    "a NUL in a header": b"X-Name: a\0b\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("rest", REFUSED.values(), ids=REFUSED.keys())
def test_an_ambiguous_request_is_refused_and_what_follows_it_is_not_read(wire: Wire, rest: bytes) -> None:
    answer = wire(HEAD + rest + SMUGGLED)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.endswith(HUNG_UP)
    assert answer.count(b"HTTP/1.1 ") == 1


def test_a_length_beside_chunks_is_refused_and_what_follows_it_is_not_read(wire: Wire) -> None:
    """CL.TE: a proxy that goes by the length takes the second request for the end of the first one's body."""
    answer = wire(HEAD + b"Content-Length: 60\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"stands beside transfer-encoding" in answer
    assert answer.endswith(HUNG_UP)
    assert answer.count(b"HTTP/1.1 ") == 1


def test_a_body_that_nobody_reads_is_no_request(wire: Wire) -> None:
    """What is answered before its body was read: the body does not become the next request."""
    length = f"Content-Length: {len(SMUGGLED)}\r\n\r\n".encode()
    answer = wire(b"POST /healthz HTTP/1.1\r\nHost: mail.blog.example\r\n" + length + SMUGGLED)
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert answer.count(b"HTTP/1.1 ") == 1
