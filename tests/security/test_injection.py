"""Line ends in every field that goes into a mail's head or an SMTP command, through the whole way of a mail.

The parts alone: `unit/rendering/test_alone_and_compiled.py`, `unit/transports/test_commands.py`.
"""

from __future__ import annotations

import json
from dataclasses import replace
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.integration.audience.conftest import Desk
from tests.running import post_event, signup_event
from tests.unit.intake.making import hostile
from tests.unit.rendering.making import IDENTITY, PUBLICATION, READER, TEMPLATES, sample_post
from worker.domain.delivery import Kind
from worker.domain.message import Recipient
from worker.domain.publication import MailingList
from worker.rendering import MailCompiler, post_context
from worker.storage.models import DeliveryRow

ENDS = ["\r\n", "\n", "\r", "\u2028", "\0", "=0D=0A"]
INJECTED = "{end}Bcc: evil@evil.example{end}{end}<script>alert(1)</script>{end}.{end}MAIL FROM:<evil@evil.example>{end}"


def _message(post: dict[str, object], recipient: Recipient = READER) -> EmailMessage:
    shared = post_context(PUBLICATION, post, list_slug="posts")
    data = MailCompiler(TEMPLATES).compile(PUBLICATION, Kind.NEW_POST, shared).personalise(recipient, IDENTITY)
    assert b"\r\n.\r\n" not in data
    assert data.replace(b"\r\n", b"").find(b"\n") == data.replace(b"\r\n", b"").find(b"\r") == -1
    message = message_from_bytes(data, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


@pytest.fixture(scope="module")
def names() -> list[str]:
    """The header fields of an ordinary mail."""
    return [*_message(sample_post()).keys()]


FIELDS = ["id", "title", "url", "excerpt", "image", "image_alt", "published_at", "html"]


@pytest.mark.parametrize("end", ENDS, ids=ascii)
@pytest.mark.parametrize("field", FIELDS)
def test_a_field_of_a_post_ends_no_header(names: list[str], field: str, end: str) -> None:
    """Even one that intake would have refused, or that came into the ledger before it did."""
    message = _message(sample_post() | {field: "https://blog.example/" + INJECTED.replace("{end}", end)})
    assert [*message.keys()] == names
    assert [part.get_content_type() for part in message.walk()] == ["multipart/alternative", "text/plain", "text/html"]
    assert "<script" not in message.get_body(("html",)).get_content()  # type: ignore[union-attr]


@pytest.mark.parametrize("end", ENDS, ids=ascii)
@pytest.mark.parametrize("field", ["email", "name", "locale", "unsubscribe_url", "manage_url"])
def test_a_field_of_a_reader_ends_no_header(names: list[str], field: str, end: str) -> None:
    value = INJECTED.replace("{end}", end)
    value = f"a{value}@example.org"[:300] if field == "email" else f"https://x.example/{value}"
    message = _message(sample_post(), READER._replace(**{field: value}))
    assert set(message.keys()) <= set(names)
    assert "evil@evil.example" not in str(message["Bcc"])
    assert "<script" not in message.get_body(("html",)).get_content()  # type: ignore[union-attr]


@pytest.mark.parametrize("end", ["\r\n", "\n", "\u2028"], ids=ascii)
def test_a_field_of_a_publication_ends_no_header(names: list[str], end: str) -> None:
    """The configuration refuses them (`unit/test_publications.py`); a header is written so that none could."""
    value = INJECTED.replace("{end}", end)
    lists = (MailingList("posts", f"New{value}"),)
    other = replace(PUBLICATION, name=f"Daily{value}", lists=lists, sender=replace(PUBLICATION.sender, name=value))
    shared = post_context(other, sample_post(), list_slug="posts")
    try:
        data = MailCompiler(TEMPLATES).compile(other, Kind.NEW_POST, shared).personalise(READER, IDENTITY)
    except ValueError:
        return
    assert [*message_from_bytes(data, policy=policy.default).keys()] == names


@pytest.mark.parametrize("backend", ["sqlite"])
@pytest.mark.parametrize("end", ["\r\n", "\u2028"], ids=ascii)
@pytest.mark.parametrize(
    "path", ["subscriber.email", "subscriber.name", "subscriber.locale", "consent.ip", "lists.0", "subscriber.labels.0"]
)
def test_a_line_end_in_a_sign_up_is_refused_by_name(http: httpx.Client, desk: Desk, path: str, end: str) -> None:
    event = signup_event("ana@example.com")
    event["data"] |= {"lists": ["posts"], "consent": {"at": "2025-01-01T00:00:00Z"}}
    event["data"]["subscriber"]["labels"] = ["vip"]
    _put(event["data"], path, f"x@example.com{end}RCPT TO:<evil@evil.example>")
    answer = http.post("/v1/events", json=event)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == f"data.{path}"
    assert desk.rows(DeliveryRow) == []


@pytest.mark.parametrize("backend", ["sqlite"])
@pytest.mark.parametrize("end", ["\r\n", "\u2028"], ids=ascii)
@pytest.mark.parametrize("path", ["post.id", "post.title", "post.url", "post.image", "list", "post.tags.0"])
def test_a_line_end_in_a_post_is_refused_by_name(http: httpx.Client, path: str, end: str) -> None:
    event = post_event()
    event["data"]["list"] = "posts"
    _put(event["data"], path, f"https://blog.example/{end}Bcc: evil@evil.example")
    answer = http.post("/v1/events", content=json.dumps(event), headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == f"data.{path}"


def _put(data: dict[str, Any], path: str, value: str) -> None:
    *parents, last = path.split(".")
    for name in parents:
        data = data[name]
    data[int(last) if last.isdigit() else last] = value  # type: ignore[index]


@hostile
@given(st.text(max_size=80))
def test_no_title_makes_a_header(text: str) -> None:
    post = sample_post() | {"title": f"t{text}\r\nBcc: evil@evil.example"}
    message = _message(post)
    assert message["Bcc"] is None
    assert len(message.get_all("Subject", [])) == 1
