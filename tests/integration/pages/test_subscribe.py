"""The sign-up form: the same answer whatever is known of an address, errors beside their fields, nothing for robots."""

from __future__ import annotations

import re
from collections.abc import Callable

import httpx
import pytest

from tests.integration.audience.conftest import Desk
from worker.bootstrap import System
from worker.domain.doorbell import RecordingDoorbell
from worker.domain.tokens import Purpose
from worker.storage.database import Database
from worker.storage.models import ConsentRow, DeliveryRow, SubscriberRow

FORM = "/p/daily/subscribe"
WORDS = (
    "Success! Now check your email. To complete your subscription, click the confirmation link in your inbox. If it "
    "doesn't arrive within 3 minutes, check your spam folder."
)
Link = Callable[..., str]


def test_the_form_and_its_words(http: httpx.Client, desk: Desk, doorbell: RecordingDoorbell) -> None:
    page = http.get(FORM)
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "Get New posts by email" in page.text
    answer = http.post(FORM, data={"email": " Ana@Example.com ", "name": " Ana  López ", "website": ""})
    assert answer.status_code == 200
    assert WORDS in answer.text
    (reader,) = desk.rows(SubscriberRow)
    assert (reader.address, reader.email, reader.name) == ("ana@example.com", "Ana@example.com", "Ana López")
    (consent,) = desk.rows(ConsentRow)
    assert (consent.ip, consent.form, consent.at) == ("127.0.0.1", "hosted form", desk.now)
    assert consent.wording in page.text, "what is kept is what was shown"
    assert desk.mails() == [("confirmation", "Ana@example.com")]
    assert doorbell.rings == [("transactional", desk.rows(DeliveryRow)[0].id)]


def test_a_fetch_with_json_gets_json(http: httpx.Client, desk: Desk) -> None:
    body = {"email": "ana@example.com", "name": "Ana", "form": "footer", "wording": "Get our news!"}
    answer = http.post(FORM, json=body)
    assert (answer.status_code, answer.json()) == (200, {"status": "check_email", "message": WORDS})
    (consent,) = desk.rows(ConsentRow)
    assert (consent.form, consent.wording) == ("footer", "Get our news!")
    asked = http.post(FORM, data={"email": "bo@example.com"}, headers={"Accept": "application/json"})
    assert asked.json()["message"] == WORDS


def test_multipart_is_a_form_as_well(http: httpx.Client, desk: Desk) -> None:
    answer = http.post(FORM, files={"email": (None, "ana@example.com"), "name": (None, "Ana")})
    assert WORDS in answer.text
    assert desk.mails() == [("confirmation", "ana@example.com")]


@pytest.mark.parametrize("json", [False, True])
def test_the_answer_never_tells_whether_an_address_is_known(
    http: httpx.Client, desk: Desk, link: Link, json: bool
) -> None:
    def ask(email: str) -> tuple[int, bytes, dict[str, str]]:
        answer = http.post(FORM, json={"email": email}) if json else http.post(FORM, data={"email": email})
        return answer.status_code, answer.content, {k: v for k, v in answer.headers.items() if k != "date"}

    unknown = ask("ana@example.com")
    assert ask("ana@example.com") == unknown, "pending, and over the limit"
    http.post(link(Purpose.CONFIRM))
    desk.clock.advance(hours=1)
    assert ask("ana@example.com") == unknown, "active"
    assert desk.mails()[-1] == ("already_subscribed", "ana@example.com")
    http.post(link(Purpose.UNSUBSCRIBE))
    assert ask("ana@example.com") == unknown, "unsubscribed"
    for n in range(desk.clock.now().hour, 60):
        assert ask(f"other{n}@example.com") == unknown, "over the cap of this IP"


@pytest.mark.parametrize(
    ("email", "said"),
    [
        ("", "This is missing"),
        ("ana", "This is not an email address"),
        ('"><script>alert(1)</script>', "This is not an email address"),
        ("ana@example.com\r\nBcc: bo@example.com", "control characters"),
        ("ana\0@example.com", "control characters"),
        ("a" * 300 + "@example.com", "This is too long"),
    ],
)
def test_an_error_stands_beside_its_field_and_the_value_is_kept(
    http: httpx.Client, desk: Desk, email: str, said: str
) -> None:
    before = desk.dump()
    answer = http.post(FORM, data={"email": email, "name": "Ana & Bo"})
    assert answer.status_code == 422
    problem = re.search(r'id="email-problem">([^<]*)<', answer.text)
    assert problem is not None
    assert said in problem[1]
    assert 'aria-invalid="true" aria-describedby="email-problem"' in answer.text
    assert 'value="Ana &amp; Bo"' in answer.text
    assert "<script" not in answer.text
    as_json = http.post(FORM, json={"email": email})
    assert (as_json.status_code, as_json.headers["content-type"]) == (422, "application/problem+json")
    assert as_json.json()["errors"][0]["field"] == "email"
    assert desk.dump() == before


@pytest.mark.parametrize(
    ("headers", "body", "field"),
    [
        ({"content-type": "application/json"}, b"{", "body"),
        ({"content-type": "application/json"}, b"[1]", "body"),
        ({"content-type": "application/json"}, b"[" * 60_000, "body"),
        ({"content-type": "application/json"}, b'{"email": 7}', "email"),
        ({"content-type": "application/json"}, b'{"email": "a@example.com", "lists": ["nope"]}', "lists"),
        ({"content-type": "application/json"}, b'{"email": "a@example.com", "name": "a\\u0000b"}', "name"),
        ({"content-type": "application/json"}, b'{"email": "a@example.com", "name": "\\ud800"}', "name"),
        ({"content-type": "application/json"}, b'{"email": "a@example.com", "wording": "' + b"w" * 10_001 + b'"}',
         "wording"),
        ({"content-type": "application/json"}, b'{"email": "a' + b"a" * 70_000 + b'"}', "body"),
        ({"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}, b"email=%ff", "body"),
        ({"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}, b"a=1&" * 500, "body"),
        ({"content-type": "multipart/form-data", "accept": "application/json"}, b"email=a", "body"),
        ({"content-type": "multipart/form-data; boundary=x", "accept": "application/json"}, b"--x\r\nno", "email"),
    ],
)  # fmt: skip
def test_hostile_bodies_are_refused_by_name(
    http: httpx.Client, desk: Desk, headers: dict[str, str], body: bytes, field: str
) -> None:
    before = desk.dump()
    answer = http.post(FORM, content=body, headers=headers)
    assert answer.status_code == 422, answer.text
    assert [one["field"] for one in answer.json()["errors"]] == [field]
    assert desk.dump() == before


def test_who_fills_in_what_nobody_sees_gets_the_same_answer_and_nothing_else(http: httpx.Client, desk: Desk) -> None:
    honest = http.post(FORM, data={"email": "ana@example.com"})
    before = desk.dump()
    trapped = http.post(FORM, data={"email": "bo@example.com", "website": "https://spam.example"})
    assert (trapped.status_code, trapped.content) == (honest.status_code, honest.content)
    assert desk.dump() == before


def test_a_publication_with_several_lists_lets_choose(http: httpx.Client, desk: Desk) -> None:
    page = http.get("/p/weekly/subscribe").text
    assert "Subscribe to The &lt;Weekly&gt;" in page
    assert "Notes &amp; such" in page
    none = http.post("/p/weekly/subscribe", data={"email": "ana@example.com"})
    assert none.status_code == 422
    assert "Please choose at least one list." in none.text
    assert http.post("/p/weekly/subscribe", data={"email": "ana@example.com", "list": ["notes"]}).status_code == 200
    assert desk.standing() == {("weekly", "ana@example.com", "notes"): ("pending", 0)}
    asked = http.post("/p/weekly/subscribe", json={"email": "bo@example.com", "lists": ["posts", "notes"]})
    assert asked.status_code == 200
    assert len(desk.standing()) == 3


def test_an_unknown_publication(http: httpx.Client) -> None:
    assert http.get("/p/nope/subscribe").status_code == http.post("/p/nope/subscribe", data={}).status_code == 404
    assert http.post("/p/nope/subscribe", json={}).headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("environ", [{"PRESSRUN_TRUSTED_PROXIES": "127.0.0.0/8"}])
@pytest.mark.parametrize("backend", ["sqlite"])
def test_behind_trusted_proxies_the_forwarded_ip_counts(http: httpx.Client, desk: Desk, system: System) -> None:
    cap = system.settings.signups_per_ip_hour
    for n in range(cap + 1):
        http.post(FORM, data={"email": f"r{n}@example.com"}, headers={"X-Forwarded-For": "6.6.6.6, 203.0.113.7"})
    assert {one.ip for one in desk.rows(ConsentRow)} == {"203.0.113.7"}
    assert (len(desk.mails()), len(desk.rows(SubscriberRow))) == (cap, cap + 1)
    http.post(FORM, data={"email": "elsewhere@example.com"}, headers={"X-Forwarded-For": "203.0.113.8"})
    assert len(desk.mails()) == cap + 1


def test_only_the_publications_own_site_may_fetch(http: httpx.Client) -> None:
    own, other = {"Origin": "https://blog.example"}, {"Origin": "https://evil.example"}
    asked = http.options(FORM, headers={**own, "Access-Control-Request-Method": "POST"})
    assert asked.headers["access-control-allow-origin"] == "https://blog.example"
    assert asked.headers["access-control-allow-headers"] == "Content-Type"
    assert "access-control-allow-origin" not in http.options(FORM, headers=other).headers
    answer = http.post(FORM, json={"email": "ana@example.com"}, headers=own)
    assert answer.headers["access-control-allow-origin"] == "https://blog.example"
    assert "access-control-allow-origin" not in http.post(FORM, json={"email": "a@example.com"}, headers=other).headers


@pytest.mark.parametrize("backend", ["sqlite"])
def test_without_the_database_a_page_says_so(http: httpx.Client, system: System) -> None:
    system.database.close()
    system.database = Database("sqlite:////nowhere/at/all.db")
    answer = http.post(FORM, data={"email": "ana@example.com"})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert "Please try again in a moment" in answer.text
    assert "nowhere" not in answer.text
    as_json = http.post(FORM, json={"email": "ana@example.com"})
    assert (as_json.status_code, as_json.headers["content-type"]) == (503, "application/problem+json")
    system.database.close()
