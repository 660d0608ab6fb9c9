"""Everything that reads a stranger's bytes, each as one function that raises nothing but what its callers expect."""

from __future__ import annotations

import hmac
import io
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from hashlib import sha256
from pathlib import Path

from starlette.requests import Request
from starlette.types import Message, Receive

from tests.unit.intake.making import GHOST_SECRET, publication
from tests.unit.rendering.making import IDENTITY, PUBLICATION, READER, TEMPLATES
from worker.audience.addresses import parse_address
from worker.audience.csvfile import BadRow, ReaderRow, read_rows
from worker.delivery.transports.reading import TEXT_LIMIT, ReplyReader, read_reply
from worker.domain.delivery import Kind
from worker.domain.errors import InvalidInput, PermanentError
from worker.domain.events import Event
from worker.domain.identity import read_return_path
from worker.domain.replies import Stage, judge
from worker.domain.tokens import KeyRing, Purpose
from worker.intake.cloudevents import parse_event
from worker.intake.effects import effect_of
from worker.intake.jsontext import canonical, parse_json
from worker.intake.reading import read_events
from worker.intake.receive import body_hash
from worker.intake.signatures import Signed, matches
from worker.intake.sources.base import Webhook
from worker.intake.sources.ghost import ghost_event
from worker.redaction import redact
from worker.rendering import MailCompiler, confirmation_context
from worker.rendering.errors import ContentTooLarge, Unaddressable
from worker.rendering.plaintext import to_text
from worker.rendering.sanitising import sanitise
from worker.web.client_ip import client_ip
from worker.web.pages.fields import read_fields

DAILY = publication()
KEYS = KeyRing({1: b"a key for tests, and for nothing else"}, 1)
BASE = "https://blog.example/post/"
NOW = 1_739_109_900


def _text(data: bytes) -> str:
    """With surrogates where there are any: JSON may bring them."""
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace")


def json_text(data: bytes) -> None:
    value = parse_json(data)
    assert parse_json(canonical(value)) == value


def structured_event(data: bytes) -> None:
    _assert_storable(parse_event([("Content-Type", "application/cloudevents+json")], data))


def binary_event(data: bytes) -> None:
    """A head and a body, as HTTP has them."""
    head, _, body = data.partition(b"\n\n")
    lines = [line.partition(":") for line in head.decode("latin-1").split("\n")]
    _assert_storable(parse_event([(name, value.strip()) for name, _, value in lines], body))


def ghost_hook(data: bytes) -> None:
    digest = hmac.new(GHOST_SECRET.encode(), data + str(NOW * 1000).encode(), sha256).hexdigest()
    headers = {"x-ghost-signature": f"sha256={digest}, t={NOW * 1000}"}
    _assert_storable(ghost_event(DAILY, Webhook(headers, data, None, NOW, 300)))


def _assert_storable(event: Event) -> None:
    assert 0 < len(event.id) <= 256
    assert 0 < len(event.source) <= 512
    assert "\0" not in event.id + event.source + event.type
    assert len(body_hash(event)) == 64
    effect_of(event)


def event_file(data: bytes) -> None:
    for where, found in read_events(io.BytesIO(data), "file", 4096):
        assert where.startswith("file")
        assert isinstance(found, Event | InvalidInput)


def signature_header(data: bytes) -> None:
    parts = data.decode("latin-1").split("\n")
    id_, timestamp, signatures, *_ = [*parts, "", "", ""]
    assert not matches(DAILY.signing_secrets, Signed(id_, timestamp, signatures), data)


def smtp_replies(data: bytes) -> None:
    reader = ReplyReader()
    for lines in reader.feed(data):
        reply = read_reply(lines)
        assert 200 <= reply.code < 600
        assert len(reply.text) <= TEXT_LIMIT
        assert not any(one in reply.text + reply.enhanced for one in "\0\r\n")
        for stage in Stage:
            # only 5yz, or a word about too many, is ever held against an address
            assert not judge(reply, stage).suppress or reply.code >= 500


def address(data: bytes) -> None:
    found = parse_address(_text(data))
    assert parse_address(found.email) == found
    assert not any(one in found.email for one in " \r\n\0<>")
    assert len(found.address) <= 320


def csv_file(data: bytes) -> None:
    for row in read_rows(io.BytesIO(data)):
        assert isinstance(row, BadRow | ReaderRow)
        if isinstance(row, ReaderRow):
            assert len(row.consent_ip) <= 45
            assert len(row.name) <= 512
            assert row.consent_at is None or row.consent_at.utcoffset() is not None
            assert not any("\0" in one or "\n" in one for one in (row.name, row.locale, *row.labels))


def link_token(data: bytes) -> None:
    text = _text(data)
    assert all(KEYS.read(text, purpose) is None for purpose in Purpose)


def bounce_address(data: bytes) -> None:
    assert read_return_path(b"a key", _text(data)) is None


def post_html(data: bytes) -> None:
    clean = sanitise(_text(data), BASE)
    assert sanitise(clean, BASE) == clean
    assert not any(one in clean.lower() for one in ("<script", "<style", "<iframe", "<svg", 'href="javascript', "<!--"))
    assert "\0" not in to_text(clean)


def form_body(data: bytes) -> None:
    """A content type, an empty line, a body."""
    kind, _, body = data.partition(b"\n")
    request = Request({"type": "http", "headers": [(b"content-type", kind)]}, _receiving(body))
    coroutine = read_fields(request)
    try:
        coroutine.send(None)
    except StopIteration as done:
        for name, values in done.value.items():
            assert isinstance(name, str)
            assert all(isinstance(value, str) for value in values)
    else:
        raise AssertionError("it waits for what will not come")


def _receiving(body: bytes) -> Receive:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


def forwarded_for(data: bytes) -> None:
    scope = {"type": "http", "client": ("127.0.0.1", 1), "headers": [(b"x-forwarded-for", data)]}
    assert 0 < len(client_ip(Request(scope), ("127.0.0.0/8", "10.0.0.0/8"))) <= 45


def log_line(data: bytes) -> None:
    once = redact(_text(data))
    assert redact(once) == once


def template(data: bytes) -> None:
    """A template of an operator's: it is compiled, or its fault is named; the mail of a reader is whole."""
    folder = _folder()
    (folder / "confirmation" / "body.txt").write_text(_text(data).replace("\0", ""), "utf-8", "replace")
    own = replace(PUBLICATION, templates=folder)
    mail = MailCompiler(TEMPLATES).compile(own, Kind.CONFIRMATION, confirmation_context(own, own.lists[:1], 72))
    message = mail.personalise(READER, IDENTITY)
    assert b"\r\n.\r\n" not in message
    assert (b"\n" + message.partition(b"\r\n\r\n")[0]).count(b"\nSubject:") == 1


@cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="pressrun-fuzz-"))
    (folder / "confirmation").mkdir()
    return folder


EXPECTED = (InvalidInput, PermanentError, ContentTooLarge, Unaddressable)
"""What a caller of these turns into an answer that names what is wrong."""

PARSERS: dict[str, Callable[[bytes], None]] = {
    one.__name__: one
    for one in (
        json_text, structured_event, binary_event, ghost_hook, event_file, signature_header, smtp_replies, address,
        csv_file, link_token, bounce_address, post_html, form_body, forwarded_for, log_line, template,
    )
}  # fmt: skip


def read(name: str, data: bytes) -> None:
    """One parser on these bytes. Raises for a finding alone."""
    try:
        PARSERS[name](data)
    except EXPECTED:
        return
