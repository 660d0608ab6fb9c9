"""The links of mails: GET and HEAD never act, POST acts once, and nothing of the token gets out."""

from __future__ import annotations

import re
from collections.abc import Callable

import httpx
import pytest

from tests.integration.audience.conftest import Desk
from worker.domain.tokens import Purpose
from worker.storage.models import ConsentRow

FORM = "/p/daily/subscribe"
Link = Callable[..., str]


@pytest.fixture
def pending(http: httpx.Client) -> None:
    http.post(FORM, data={"email": "ana@example.com"})


@pytest.fixture
def active(http: httpx.Client, pending: None, link: Link) -> None:
    http.post(link(Purpose.CONFIRM))


@pytest.mark.usefixtures("pending")
@pytest.mark.parametrize("state", ["pending", "active", "left", "expired"])
def test_get_and_head_change_nothing(http: httpx.Client, desk: Desk, link: Link, state: str) -> None:
    paths = [link(purpose) for purpose in Purpose]
    if state in ("active", "left"):
        http.post(link(Purpose.CONFIRM))
    if state == "left":
        http.post(link(Purpose.UNSUBSCRIBE))
    if state == "expired":
        desk.clock.advance(days=4)
    before = desk.dump()
    for path in [FORM, *paths, *(f"{path}x" for path in paths), "/p/weekly/subscribe"]:
        page = http.get(path)
        head = http.head(path)
        assert head.status_code == page.status_code
        assert head.content == b""
        assert "<script" not in page.text
    assert desk.dump() == before


@pytest.mark.usefixtures("pending")
def test_every_page_keeps_its_token_to_its_reader(http: httpx.Client, link: Link) -> None:
    for path in [FORM, "/confirm/nonsense", *(link(purpose) for purpose in Purpose)]:
        for answer in (http.get(path), http.post(path, data={})):
            headers = answer.headers
            assert headers["referrer-policy"] == "no-referrer"
            assert headers["cache-control"] == "no-store"
            assert headers["x-robots-tag"] == "noindex, nofollow"
            assert headers["x-content-type-options"] == "nosniff"
            assert "set-cookie" not in headers
            assert "default-src 'none'" in headers["content-security-policy"]
            assert "unsafe" not in headers["content-security-policy"]
            # nothing is loaded from elsewhere but the logo
            loaded = re.findall(r'(?:src|srcset)="([^"]*)"|@import|url\(', answer.text)
            assert set(loaded) <= {"https://blog.example/content/images/logo.png"}


@pytest.mark.usefixtures("pending")
def test_confirming_takes_a_button_and_can_be_done_twice(http: httpx.Client, desk: Desk, link: Link) -> None:
    path = link(Purpose.CONFIRM)
    page = http.get(path)
    assert page.status_code == 200
    assert page.text.count("<button") == 1
    assert "ana@example.com" in page.text
    first = http.post(path)
    assert (first.status_code, "You are subscribed" in first.text) == (200, True)
    again = http.post(path)
    assert (again.status_code, "Already confirmed" in again.text) == (200, True)
    assert "Already confirmed" in http.get(path).text
    assert desk.status() == ("active", 0)


@pytest.mark.usefixtures("pending")
def test_an_expired_link_offers_a_new_one(http: httpx.Client, desk: Desk, link: Link) -> None:
    old = link(Purpose.CONFIRM)
    desk.clock.advance(hours=72)
    page = http.get(old)
    assert (page.status_code, http.post(old).status_code) == (410, 410)
    action = re.search(r'action="([^"]*)"', page.text)
    assert action is not None
    new = http.post(http.base_url.join(old).join(action[1]))
    assert new.status_code == 200
    assert "Now check your email." in new.text
    assert len(desk.mails()) == 2
    assert "You are subscribed" in http.post(link(Purpose.CONFIRM)).text


def test_cut_short_links_get_a_friendly_page(http: httpx.Client, desk: Desk, active: None, link: Link) -> None:
    before = desk.dump()
    for purpose in Purpose:
        path = link(purpose)
        start = path.index("/", 1) + 1
        for end in range(start + 1, len(path)):
            answer = http.post(path[:end])
            assert answer.status_code == 404, path[:end]
            assert "This link does not work" in answer.text
        for torn in (path + "/", path + "/x/y", path[:start]):
            for answer in (http.get(torn), http.post(torn)):
                assert (answer.status_code, "This link does not work" in answer.text) == (404, True), torn
    for odd in ("/confirm/%00", "/unsubscribe/%F0%9F%92%A9", "/manage/..%2f..", "/confirm/" + "x" * 3000):
        assert http.get(odd).status_code == 404
    assert desk.dump() == before


_ONE_CLICK = {"List-Unsubscribe": "One-Click"}


@pytest.mark.usefixtures("active")
@pytest.mark.parametrize(
    "body",
    [
        # RFC 8058 §8.2 and §8.1: the two ways a mail program may send it
        {"content": b"List-Unsubscribe=One-Click", "headers": {"Content-Type": "application/x-www-form-urlencoded"}},
        {
            "content": b"---FormBoundaryjWmhtjORrn\r\n"
            b'Content-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n'
            b"---FormBoundaryjWmhtjORrn--\r\n",
            "headers": {"Content-Type": "multipart/form-data; boundary=-FormBoundaryjWmhtjORrn"},
        },
        {"data": _ONE_CLICK},
        {"files": {"List-Unsubscribe": (None, "One-Click")}},
    ],
)
def test_one_click_acts_at_once(http: httpx.Client, desk: Desk, link: Link, body: dict[str, object]) -> None:
    answer = http.post(link(Purpose.UNSUBSCRIBE), follow_redirects=False, **body)  # type: ignore[arg-type]
    assert answer.status_code == 200
    assert "set-cookie" not in answer.headers
    assert desk.status() == ("unsubscribed", 0)
    last = desk.rows(ConsentRow)[-1]
    assert (last.action, last.form, last.ip) == ("withdrawn", "one-click (RFC 8058)", "127.0.0.1")
    before = desk.dump()
    assert http.post(link(Purpose.UNSUBSCRIBE), data=_ONE_CLICK).status_code == 200
    assert desk.dump() == before


@pytest.mark.usefixtures("active")
@pytest.mark.parametrize(
    ("content", "kind"),
    [(b"", ""), (b"\xff\xfe", "text/plain"), (b"{", "application/json"), (b"x" * 100_000, "multipart/form-data")],
)
def test_nothing_in_the_body_keeps_a_reader_in(
    http: httpx.Client, desk: Desk, link: Link, content: bytes, kind: str
) -> None:
    answer = http.post(link(Purpose.UNSUBSCRIBE), content=content, headers={"Content-Type": kind})
    assert answer.status_code == 200
    assert desk.status() == ("unsubscribed", 0)


@pytest.mark.usefixtures("active")
def test_leaving_by_the_page_and_coming_back(http: httpx.Client, desk: Desk, link: Link) -> None:
    path = link(Purpose.UNSUBSCRIBE)
    page = http.get(path)
    assert page.text.count("<button") == 1
    assert "ana@example.com" not in page.text, "the link travels with forwarded mail"
    left = http.post(path)
    assert "You are unsubscribed" in left.text
    assert desk.rows(ConsentRow)[-1].form == "unsubscribe page"
    action = re.search(r'action="([^"]*)"', left.text)
    assert action is not None
    manage = http.base_url.join(path).join(action[1])
    back = http.post(manage, data={"action": "join", "list": "posts"})
    assert "This is saved." in back.text
    assert desk.status() == ("active", 1)
    assert http.post(path).status_code == 200, "the old link still lets out"
    assert desk.status() == ("unsubscribed", 1)


def test_managing_all_lists(http: httpx.Client, desk: Desk, link: Link) -> None:
    http.post("/p/weekly/subscribe", data={"email": "ana@example.com", "list": ["posts"]})
    http.post(link(Purpose.CONFIRM))
    path = link(Purpose.MANAGE)

    def ticked() -> set[str]:
        return set(re.findall(r'value="(\w+)" checked', http.get(path).text))

    assert ticked() == {"posts"}
    assert "This is saved." in http.post(path, data={"action": "save", "list": ["notes"]}).text
    assert ticked() == {"notes"}
    before = desk.dump()
    for nothing in ({}, {"action": "nonsense"}, {"action": "join"}, {"action": "join", "list": "nope"}):
        assert http.post(path, data=nothing).status_code == 200
    assert http.post(path, content=b"{", headers={"Content-Type": "application/json"}).status_code == 200
    assert desk.dump() == before
    http.post(path, data={"action": "save"})
    assert ticked() == set()
    http.post(path, data={"action": "save", "list": ["notes", "posts"]})
    assert ticked() == {"notes", "posts"}
    http.post(path, data={"action": "leave-all"})
    assert ticked() == set()


@pytest.mark.usefixtures("active")
@pytest.mark.parametrize("backend", ["sqlite"])
def test_other_methods_are_refused(http: httpx.Client, desk: Desk, link: Link) -> None:
    before = desk.dump()
    for purpose in Purpose:
        for method in ("PUT", "DELETE", "PATCH"):
            assert http.request(method, link(purpose)).status_code == 405
    assert desk.dump() == before
