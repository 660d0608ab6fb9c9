"""Bodies too large, requests too slow, JSON that grows when it is read."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from tests.integration.web.serving import serving
from tests.security.conftest import HUNG_UP
from tests.unit.intake.making import TOKEN
from worker.bootstrap import System
from worker.web.app import create_app

Wire = Callable[..., bytes]
HEAD = f"POST /v1/events HTTP/1.1\r\nHost: a.example\r\nAuthorization: Bearer {TOKEN}\r\n".encode()
LIMIT = 1_048_576
pytestmark = pytest.mark.parametrize("backend", ["sqlite"])


@pytest.mark.parametrize("length", [LIMIT + 1, 10**18, 10**300], ids=["one more", "an exabyte", "no number of bytes"])
def test_a_body_announced_too_large_is_not_waited_for(wire: Wire, length: int) -> None:
    assert wire(HEAD + f"Content-Length: {length}\r\n\r\n".encode()).startswith((b"HTTP/1.1 413 ", b"HTTP/1.1 400 "))


def test_a_body_in_chunks_is_not_read_beyond_the_limit(wire: Wire) -> None:
    chunk = b"10000\r\n" + b"a" * 65_536 + b"\r\n"
    answer = wire(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * (LIMIT // 65_536 + 1))
    assert answer.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("path", ["/p/daily/subscribe", "/unsubscribe/x", "/manage/x", "/confirm/x"])
def test_a_form_without_end_is_answered_before_it_ends(wire: Wire, path: str) -> None:
    """The pages read 64 KB of what they are sent, and wait for no more."""
    head = f"POST {path} HTTP/1.1\r\nHost: a.example\r\nContent-Length: 10000000\r\n\r\n"
    answer = wire(head.encode() + b"a" * 70_000)
    assert answer.startswith((b"HTTP/1.1 404 ", b"HTTP/1.1 422 "))


@pytest.mark.parametrize("line", [b"X-Long: " + b"a" * 600_000, b"a: b\r\n" * 100_000], ids=["long", "many"])
def test_headers_without_end_are_refused(wire: Wire, line: bytes) -> None:
    answer = wire(b"GET /healthz HTTP/1.1\r\nHost: a.example\r\n" + line)
    assert answer.startswith(b"HTTP/1.1 400 ") or answer == HUNG_UP


# -- slow


@pytest.fixture
def hasty(system: System) -> Iterator[tuple[str, int]]:
    """Where the API is served with a deadline of half a second for a request."""
    with serving(create_app(system), request_seconds=0.5) as url:
        yield "127.0.0.1", int(urlsplit(url).port or 0)


SLOW = {
    "nothing at all": (b"",),
    "half a head": (b"GET /healthz HTTP/1.1\r\nHost: a.exa",),
    "a head without its end": (b"GET /healthz HTTP/1.1\r\n", b"X-a: b\r\n"),
    "a body that does not come": (HEAD + b"Content-Length: 100\r\n\r\n", b""),
    "a body byte by byte": (HEAD + b"Content-Length: 10000\r\n\r\n", b"a"),
    "chunks byte by byte": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
    "a body that nobody wants": (b"POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n", b"a"),
}


@pytest.mark.parametrize("pieces", SLOW.values(), ids=SLOW.keys())
def test_a_slow_request_is_hung_up_on(hasty: tuple[str, int], pieces: tuple[bytes, ...]) -> None:
    """The last piece is sent again and again: bytes that come do not put the end off."""
    with socket.create_connection(hasty) as line:
        line.settimeout(0.05)
        for piece in pieces:
            line.sendall(piece)
        assert _ends(line, pieces[-1])


def test_between_two_requests_a_connection_may_rest(hasty: tuple[str, int]) -> None:
    """The deadline is for requests; a client that keeps its connection is not hung up on by it."""
    with socket.create_connection(hasty) as line, line.makefile("rb") as answers:
        for _ in range(2):
            line.sendall(b"GET /healthz HTTP/1.1\r\nHost: a.example\r\n\r\n")
            while answers.readline() != b"\r\n":
                pass
            assert answers.read(15) == b'{"status":"ok"}'
            time.sleep(0.7)


def test_an_answer_that_nobody_takes_is_given_up(hasty: tuple[str, int]) -> None:
    """A hundred times the documentation's script (a megabyte each), on a connection whose client reads nothing."""
    came = 0
    with socket.socket() as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.connect(hasty)
        line.sendall(b"GET /docs-assets/swagger-ui-bundle.js HTTP/1.1\r\nHost: a.example\r\n\r\n" * 100)
        time.sleep(1.5)
        with contextlib.suppress(ConnectionError):
            while chunk := line.recv(1_000_000):
                came += len(chunk)
    # what lay in the kernel's buffers, and no more
    assert came < 20_000_000


def _ends(line: socket.socket, piece: bytes, seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            line.sendall(piece)
            if not line.recv(4096):
                return True
        except TimeoutError:
            continue
        except ConnectionError:
            return True
    return False


# -- bombs

_EVENT = '{"specversion":"1.0","id":"1","source":"urn:x","type":"post.published","data":%s}'
BOMBS = {
    "deep arrays": "[" * 400_000,
    "deep objects": '{"a":' * 150_000,
    "deep and closed": _EVENT % ('{"publication":"daily","a":' + "[" * 5_000 + "]" * 5_000 + "}"),
    "a number of a megabyte": _EVENT % ("1" * 1_000_000),
    "a number beyond all bounds": _EVENT % '{"publication":"daily","a":1e999999999}',
    "a million commas": "[" + "1," * 400_000 + "1]",
    "a hundred thousand members": _EVENT % json.dumps({str(n): 0 for n in range(80_000)}),
    "a thousand mistakes": _EVENT % json.dumps({"publication": "daily", "labels": [7] * 200_000}),
}


@pytest.mark.parametrize("text", BOMBS.values(), ids=BOMBS.keys())
def test_a_json_bomb_is_refused_by_name(http: httpx.Client, text: str) -> None:
    answer = http.post("/v1/events", content=text, headers={"Content-Type": "application/cloudevents+json"}, timeout=30)
    assert answer.status_code in (413, 422)
    assert len(answer.content) < 10_000
    assert answer.json()["errors"]


def test_a_compressed_bomb_is_not_unpacked(http: httpx.Client) -> None:
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/cloudevents+json"}
    assert http.post("/v1/events", content=b"\x1f\x8b" + b"\0" * 1000, headers=headers).status_code == 415
