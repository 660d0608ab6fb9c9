"""Stored and reflected script: whatever people type is text on every page.

What a post's HTML may hold in a mail: `unit/rendering/test_sanitising.py`. No page has a script of its own, and its
policy allows none, so that even a mistake would not run.
"""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from tests.integration.audience.conftest import Desk
from tests.integration.web.serving import serving
from tests.unit.rendering.making import PUBLICATION, READER, TEMPLATES
from worker.domain.clock import FakeClock
from worker.domain.delivery import Kind
from worker.domain.tokens import Purpose
from worker.inbox.pages import create_pages
from worker.inbox.queries import Incoming, MailBox
from worker.rendering import MailCompiler, post_context

SCRIPTS = [
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "'><svg onload=alert(1)>", "javascript:alert(1)",
    "</title><script>alert(1)</script>", "{{7*7}}", "\" autofocus onfocus=alert(1) x=\"", "<!--><script>",
    "&lt;script&gt;alert(1)&lt;/script&gt;", "\u2028</p><iframe srcdoc='<script>alert(1)</script>'>",
]  # fmt: skip
Link = Callable[..., str]


class _Elements(HTMLParser):
    """What a page is made of, values left out."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[str, ...]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, tuple(name for name, _ in attrs)))
        for name, value in attrs:
            assert not name.startswith("on")
            assert not (value or "").strip().lower().startswith("javascript:") or name in ("value", "alt", "title")


def _elements(page: httpx.Response) -> list[tuple[str, tuple[str, ...]]]:
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert "script-src" not in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"
    return _Elements(page.text).found


@pytest.mark.parametrize("backend", ["sqlite"])
@pytest.mark.parametrize("text", SCRIPTS, ids=ascii)
def test_a_script_typed_into_a_form_is_text_on_every_page(
    http: httpx.Client, link: Link, desk: Desk, text: str
) -> None:
    """The name and the address that a stranger gives, on the form that comes back and behind every link."""
    plain = _elements(http.post("/p/daily/subscribe", data={"email": "x", "name": "Ana"}))
    assert _elements(http.post("/p/daily/subscribe", data={"email": "x", "name": text})) == plain
    assert _elements(http.post("/p/daily/subscribe", data={"email": text, "name": "Ana"})) == plain
    http.post("/p/daily/subscribe", data={"email": "ana@example.com", "name": text})
    assert len(desk.mails()) == 1
    for purpose in Purpose:
        page = http.get(link(purpose))
        assert {tag for tag, _ in _elements(page)}.isdisjoint({"script", "svg", "iframe"})
        assert "alert(1)" not in page.text


@pytest.mark.parametrize("backend", ["sqlite"])
@pytest.mark.parametrize("text", SCRIPTS, ids=ascii)
def test_a_script_in_an_address_is_text_in_the_answer(http: httpx.Client, text: str) -> None:
    """A page that is not there, and errors: JSON that no browser takes for a page."""
    quoted = quote(text, safe="")
    for path in (f"/p/{quoted}/subscribe", f"/confirm/{quoted}", f"/unsubscribe/{quoted}", f"/manage/{quoted}"):
        page = http.get(path)
        assert "alert(1)" not in page.text
    for path in (f"/v1/events/{quoted}", f"/v1/campaigns/{quoted}", f"/v1/sources/{quoted}/daily", f"/{quoted}"):
        answer = http.get(path)
        assert answer.status_code >= 400
        assert answer.headers["content-type"] == "application/problem+json"


LOCAL = [f"{local}@example.com" for local in ("<script>", "'-alert-'", "`alert`", "a&b", "{{7*7}}", "$%7b7%7d")]


@pytest.mark.parametrize("backend", ["sqlite"])
@pytest.mark.parametrize("address", LOCAL)
def test_an_address_that_is_one_is_text_on_its_pages(
    http: httpx.Client, link: Link, desk: Desk, address: str
) -> None:
    """Quotes, braces and backticks may stand in a local part (RFC 5322 §3.2.3)."""
    http.post("/p/daily/subscribe", data={"email": "ana@example.com"})
    plain = {purpose: _elements(http.get(link(purpose))) for purpose in Purpose}
    http.post("/p/daily/subscribe", data={"email": address})
    assert len(desk.mails()) == (1 if "<" in address else 2)
    assert {purpose: _elements(http.get(link(purpose))) for purpose in Purpose} == plain


@pytest.mark.parametrize("text", SCRIPTS, ids=ascii)
@pytest.mark.parametrize("field", ["title", "excerpt", "image_alt", "html", "id"])
def test_a_script_in_a_post_is_none_in_its_mail(field: str, text: str) -> None:
    post: dict[str, object] = {
        "id": "1", "title": "A title", "url": "https://blog.example/", "html": "<p>x</p>",
        "image": "https://blog.example/a.png", "authors": [{"name": text}], "tags": [text],
    }  # fmt: skip
    shared = post_context(PUBLICATION, post | {field: f"x {text}"}, list_slug="posts")
    html = MailCompiler(TEMPLATES).compile(PUBLICATION, Kind.NEW_POST, shared).content(READER).html
    assert {tag for tag, _ in _Elements(html).found}.isdisjoint({"script", "svg", "iframe", "object"})
    assert "x 49" not in html


def test_a_script_in_a_mail_does_not_run_in_the_inbox(tmp_path: Path, clock: FakeClock) -> None:
    """The demo's inbox shows a mail as it came, in a frame that may run nothing."""
    box = MailBox(tmp_path)
    raw = b"Subject: <script>alert(1)</script>\r\nContent-Type: text/html\r\n\r\n<script>alert(1)</script>"
    box.put([Incoming("b@blog.example", "<script>@example.com", raw)], clock.now())
    with serving(create_pages(box)) as url, httpx.Client(base_url=url, timeout=20) as client:
        listed, shown = client.get("/"), client.get("/mail/1")
        body, source = client.get("/mail/1/body"), client.get("/mail/1/source")
    for page in (listed, shown):
        assert "<script" not in page.text
        assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert "sandbox" in body.headers["content-security-policy"]
    assert "allow-scripts" not in body.headers["content-security-policy"]
    assert 'sandbox="allow-popups' in shown.text
    assert source.headers["content-disposition"].startswith("attachment")
