"""Links: where they lead, who can make one, and what one can be used for."""

from __future__ import annotations

import base64
from collections.abc import Callable

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.integration.audience.conftest import Desk
from tests.security.conftest import HUNG_UP
from tests.unit.intake.making import hostile
from worker.bootstrap import System
from worker.domain.clock import FakeClock
from worker.domain.tokens import Claim, KeyRing, Purpose
from worker.storage.models import DeliveryRow, SubscriptionRow

pytestmark = pytest.mark.parametrize("backend", ["sqlite"])
Link = Callable[..., str]

# -- where they lead

FORGED = {
    "Host": "evil.example",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Proto": "javascript",
    "X-Forwarded-Prefix": "//evil.example",
    "X-Original-URL": "//evil.example",
    "Forwarded": "host=evil.example;proto=http",
}


@pytest.mark.parametrize("environ", [{"PRESSRUN_TRUSTED_PROXIES": "127.0.0.0/8"}])
def test_a_forged_host_is_in_no_page_and_in_no_mail(http: httpx.Client, desk: Desk, system: System) -> None:
    """Not even where the proxy that hands the headers on is trusted."""
    form = http.get("/p/daily/subscribe", headers=FORGED)
    answer = http.post("/p/daily/subscribe", data={"email": "ana@example.com"}, headers=FORGED)
    pages = [form, answer, *(http.get(path, headers=FORGED) for path in ("/docs", "/openapi.json", "/nowhere"))]
    for page in pages:
        assert "evil.example" not in page.text + str(page.headers)
    # mails are made by workers, of the ledger and the settings: what is in neither is in no mail
    assert len(desk.rows(DeliveryRow)) == 1
    assert "evil.example" not in str(desk.dump())
    assert system.settings.base_url == "http://127.0.0.1:8025"


PATHS = [
    "/healthz/", "/docs-assets", "/v1/events/", "/p/daily/subscribe/", "//evil.example/", "//evil.example/%2e%2e",
    "/%2f/evil.example/", "/\\evil.example/", "/p/daily/subscribe/?next=//evil.example", "/confirm/",
    "/.//evil.example/",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_nothing_redirects(wire: Callable[..., bytes], path: str) -> None:
    """No page sends its reader on, so none can be made to send him anywhere."""
    for method in ("GET", "POST", "HEAD"):
        head = f"{method} {path} HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        answer = wire(head.encode())
        status = int(answer.split(b" ")[1])
        assert not 300 <= status < 400
        assert b"\r\nlocation:" not in answer.lower()
        assert answer.endswith(HUNG_UP)


@pytest.mark.parametrize("after", ["https://evil.example", "//evil.example", "javascript:alert(1)"])
def test_a_form_leads_nowhere_but_to_its_publication(http: httpx.Client, after: str) -> None:
    names = ("next", "redirect", "return", "url", "success_url")
    fields = {"email": "ana@example.com"} | dict.fromkeys(names, after)
    params = dict.fromkeys(names, after)
    answer = http.post("/p/daily/subscribe", data=fields, params=params, headers={"Referer": after})
    assert (answer.status_code, "evil" in answer.text, "javascript:" in answer.text) == (200, False, False)


# -- what they can be used for


@pytest.fixture
def reader(http: httpx.Client, link: Link, desk: Desk) -> None:
    """`ana@example.com`, confirmed on `posts` of `daily`."""
    http.post("/p/daily/subscribe", data={"email": "ana@example.com"})
    assert http.post(link(Purpose.CONFIRM)).status_code == 200
    assert desk.status() == ("active", 0)


PAGES = {Purpose.CONFIRM: "/confirm", Purpose.UNSUBSCRIBE: "/unsubscribe", Purpose.MANAGE: "/manage"}


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize("page", Purpose)
@pytest.mark.parametrize("purpose", Purpose)
def test_a_link_is_good_for_its_own_purpose_only(
    http: httpx.Client, link: Link, desk: Desk, purpose: Purpose, page: Purpose
) -> None:
    token = link(purpose).rpartition("/")[2]
    before = desk.dump()
    answers = [http.get(f"{PAGES[page]}/{token}"), http.post(f"{PAGES[page]}/{token}", data={"action": "leave-all"})]
    if purpose is page:
        assert {one.status_code for one in answers} == {200}
    else:
        assert {one.status_code for one in answers} == {404}
        assert "ana@" not in "".join(one.text for one in answers)
        assert desk.dump() == before


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize("purpose", Purpose)
def test_every_flipped_bit_and_every_cut_is_noticed(
    http: httpx.Client, link: Link, desk: Desk, purpose: Purpose
) -> None:
    path = link(purpose)
    page, _, token = path.rpartition("/")
    raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    before = desk.dump()
    for bit in range(0, len(raw) * 8, 3):
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 1 << bit % 8
        forged = base64.urlsafe_b64encode(flipped).rstrip(b"=").decode()
        assert http.post(f"{page}/{forged}").status_code == 404
    for forged in (token[:-1], token[1:], token + "A", token + "=", token.swapcase(), token + "%00", " " + token):
        assert http.post(f"{page}/{forged}").status_code == 404
    assert desk.dump() == before


@pytest.mark.usefixtures("reader")
def test_a_link_of_another_key_or_key_id_opens_nothing(http: httpx.Client, desk: Desk, system: System) -> None:
    subscription = desk.rows(SubscriptionRow)[0]
    claim = Claim(Purpose.UNSUBSCRIBE, subscription.id, subscription.generation, 0)
    current = system.keys.current
    key = system.keys.keys[current]
    for ring in (KeyRing({current: b"a key of somebody else, who is no friend"}, current), KeyRing({2: key}, 2)):
        assert http.post(f"/unsubscribe/{ring.sign(claim)}").status_code == 404
    assert desk.status() == ("active", 0)
    assert http.post(f"/unsubscribe/{system.keys.sign(claim)}").status_code == 200


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize("generation", [0, 7, 2**32 - 1])
def test_a_confirmation_of_another_life_confirms_nothing(
    http: httpx.Client, desk: Desk, system: System, clock: FakeClock, generation: int
) -> None:
    subscription = desk.rows(SubscriptionRow)[0]
    good = Claim(Purpose.CONFIRM, subscription.id, subscription.generation, int(clock.now().timestamp()))
    http.post(f"/unsubscribe/{system.keys.sign(good._replace(purpose=Purpose.UNSUBSCRIBE))}")
    http.post(f"/confirm/{system.keys.sign(good._replace(generation=generation))}")
    assert desk.status()[0] == "unsubscribed"


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize("subscription_id", [0, 2, 2**63 - 1])
def test_a_link_to_nobody_opens_nothing(http: httpx.Client, system: System, subscription_id: int) -> None:
    """Genuine, for a number that no subscription has."""
    for purpose in Purpose:
        token = system.keys.sign(Claim(purpose, subscription_id, 1, 0))
        assert http.get(f"{PAGES[purpose]}/{token}").status_code == 404
        assert http.post(f"{PAGES[purpose]}/{token}").status_code == 404


@pytest.mark.usefixtures("reader")
def test_a_link_tells_nothing_of_another_publication(http: httpx.Client, link: Link, desk: Desk) -> None:
    """A reader of two: what one's link shows and changes is that one's."""
    manage = link(Purpose.MANAGE)
    http.post("/p/weekly/subscribe", data={"email": "ana@example.com", "list": "notes"})
    before = desk.standing()["weekly", "ana@example.com", "notes"]
    assert "Weekly" not in http.get(manage).text
    http.post(manage, data={"action": "join", "list": "notes"})
    http.post(manage, data={"action": "leave-all"})
    assert desk.standing()["weekly", "ana@example.com", "notes"] == before
    assert desk.status()[0] == "unsubscribed"


@hostile
@given(st.binary(min_size=19, max_size=60), st.sampled_from(Purpose))
def test_a_guessed_token_is_no_token(backend: str, raw: bytes, purpose: Purpose) -> None:
    ring = KeyRing({1: b"a key for tests, and for nothing else"}, 1)
    assert ring.read(base64.urlsafe_b64encode(raw).rstrip(b"=").decode(), purpose) is None


