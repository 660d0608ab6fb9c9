"""The Python client against the real service, and against one that fails."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from tests.integration.web.test_events import rows
from tests.ledger import seed_campaign
from tests.unit.intake.making import SECRET, TOKEN, sample
from worker.bootstrap import System
from worker.client import (
    ATTEMPTS,
    Client,
    Contradiction,
    Invalid,
    Missing,
    NewEvent,
    Receipt,
    Refused,
    RequestFailed,
    Unreachable,
)
from worker.domain.clock import FakeClock
from worker.domain.errors import InvalidInput


@pytest.fixture
def client(url: str, clock: FakeClock) -> Iterator[Client]:
    with Client(url, secret=SECRET, token=TOKEN, now=lambda: clock.now().timestamp()) as client:
        yield client


def test_events_are_signed_and_told_of(client: Client, system: System) -> None:
    post = NewEvent("post.published", "https://blog.example", sample("post-published")["data"])
    receipt = client.emit(post)
    assert (receipt.id, receipt.status) == (post.id, "accepted")
    assert client.emit(post) == Receipt(post.id, "duplicate", receipt.note)
    assert client.emit(sample("subscriber-created")).status == "accepted"
    event = client.event(post.id)
    assert client.event(post.id, "https://blog.example") == event
    assert client.campaign(event["campaign"])["status"] == "planning"
    assert rows(system)["events"] == 2


def test_a_token_alone_is_enough(url: str) -> None:
    with Client(url, token=TOKEN) as client:
        assert client.emit(sample("subscriber-created")).status == "accepted"


def test_looks_and_control(client: Client, system: System, clock: FakeClock) -> None:
    seeded = seed_campaign(system.database, clock.now(), 3)
    assert [one["id"] for one in client.deliveries(seeded.campaign_id)] == list(seeded.deliveries)
    assert list(client.deliveries(seeded.campaign_id, "sent")) == []
    assert client.delivery(seeded.deliveries[0])["status"] == "queued"
    assert client.pause(seeded.campaign_id)["status"] == "paused"
    assert client.resume(seeded.campaign_id)["status"] == "sending"
    assert client.retry(seeded.campaign_id)["status"] == "sending"
    assert client.cancel(seeded.campaign_id)["status"] == "cancelled"
    with pytest.raises(Contradiction, match="409"):
        client.pause(seeded.campaign_id)


def test_errors_are_typed_and_name_the_field(client: Client, url: str) -> None:
    with pytest.raises(Invalid) as error:
        client.emit(NewEvent("post.published", "/s", {"publication": "daily", "post": {"id": "1", "title": "A"}}))
    assert [one.field for one in error.value.problems] == ["data.post.url"]
    event = sample("subscriber-created")
    client.emit(event)
    with pytest.raises(Contradiction):
        client.emit(event | {"subject": "another"})
    with pytest.raises(Missing):
        client.campaign(99)
    with Client(url, token="wrong") as stranger, pytest.raises(Refused) as refused:
        stranger.emit(event)
    assert [one.field for one in refused.value.problems] == ["authorization"]
    with Client(url, secret=SECRET) as signing, pytest.raises(InvalidInput):
        signing.campaign(1)


@pytest.mark.parametrize("given", [{}, {"secret": "whsec_!"}])
def test_a_client_needs_a_credential(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        Client("http://127.0.0.1:1", **given)


class _Failing(http.server.BaseHTTPRequestHandler):
    """Answers what it is told to, and remembers the requests."""

    answers: ClassVar[list[tuple[int, bytes]]] = []
    seen: ClassVar[list[tuple[bytes, str]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.seen.append((body, self.headers["webhook-timestamp"]))
        status, answer = self.answers.pop(0)
        self.send_response(status)
        self.send_header("content-length", str(len(answer)))
        self.send_header("location", "http://127.0.0.1:1/")
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *_: object) -> None:  # noqa: A002
        """Nothing is printed."""


@pytest.fixture
def failing() -> Iterator[str]:
    _Failing.answers.clear()
    _Failing.seen.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Failing) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(10)


def test_the_same_event_is_sent_again_signed_anew(failing: str, clock: FakeClock) -> None:
    _Failing.answers[:] = [(503, b""), (500, b"<html>"), (202, b'{"id": "1", "status": "accepted"}')]
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        clock.advance(seconds=10)

    with Client(failing, secret=SECRET, sleep=sleep, now=lambda: clock.now().timestamp()) as client:
        assert client.emit(NewEvent("t", "/s", {})).status == "accepted"
    bodies, timestamps = zip(*_Failing.seen, strict=True)
    assert len(set(bodies)) == 1
    assert len(set(timestamps)) == 3
    assert waits == [0.5, 1.0]


def test_silence_ends_in_an_error_that_says_so(failing: str) -> None:
    _Failing.answers[:] = [(502, b"")] * ATTEMPTS
    with Client(failing, token="t", sleep=lambda _: None) as client, pytest.raises(Unreachable, match="502"):
        client.emit(NewEvent("t", "/s", {}))
    with Client("http://127.0.0.1:1", token="t", sleep=lambda _: None) as client, pytest.raises(Unreachable):
        client.campaign(1)


@pytest.mark.parametrize("answer", [(302, b""), (418, b"teapot"), (200, b"not json"), (422, b"{}")])
def test_answers_that_are_not_the_services(failing: str, answer: tuple[int, bytes]) -> None:
    _Failing.answers[:] = [answer]
    with Client(failing, token="t") as client, pytest.raises(RequestFailed):
        client.emit(NewEvent("t", "/s", {}))
