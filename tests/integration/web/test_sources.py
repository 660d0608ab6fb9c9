"""Ghost's webhook as Ghost sends it."""

from __future__ import annotations

import hmac
import json
from hashlib import sha256
from typing import Any

import httpx
from sqlalchemy import select

from tests.integration.web.test_events import fields, rows
from tests.unit.intake.making import GHOST_SECRET, SAMPLES, sample
from worker.bootstrap import System
from worker.domain.clock import FakeClock
from worker.storage.models import CampaignRow, EventRow, SubscriptionRow

PATH = "/v1/sources/ghost/daily"


def deliver(url: str, clock: FakeClock, body: bytes, *, path: str = PATH, late: float = 0) -> httpx.Response:
    milliseconds = f"{(clock.now().timestamp() - late) * 1000:.0f}"
    digest = hmac.digest(GHOST_SECRET.encode(), body + milliseconds.encode(), sha256).hex()
    headers = {"Content-Type": "application/json", "X-Ghost-Signature": f"sha256={digest}, t={milliseconds}"}
    return httpx.post(url + path, content=body, headers=headers)


def test_a_post_of_ghost_is_a_campaign_once(url: str, system: System, clock: FakeClock) -> None:
    body = (SAMPLES / "ghost-post-published.json").read_bytes()
    first = deliver(url, clock, body)
    assert (first.status_code, first.json()["status"]) == (202, "accepted")
    clock.advance(seconds=60)
    again = deliver(url, clock, body)
    assert (again.status_code, again.json()["status"]) == (200, "duplicate")
    with system.database.read() as connection:
        campaign = connection.execute(select(CampaignRow.post)).scalar_one()
    assert campaign["title"] == sample("post-published")["data"]["post"]["title"]
    assert campaign["authors"][0]["name"] == "Chandraketu Tripathi"


def test_unpublished_at_ghost(url: str, system: System, clock: FakeClock) -> None:
    post = sample("ghost-post-published")
    deliver(url, clock, json.dumps(post).encode())
    current: dict[str, Any] = post["post"]["current"]
    taken_back = current | {"status": "draft", "updated_at": "2025-02-09T15:00:00.000Z"}
    body = {"post": {"current": taken_back, "previous": {"status": "published"}}}
    assert deliver(url, clock, json.dumps(body).encode()).status_code == 202
    with system.database.read() as connection:
        assert connection.execute(select(CampaignRow.status)).scalar_one() == "cancelled"


def test_a_member_of_ghost_is_active_without_a_mail(url: str, system: System, clock: FakeClock) -> None:
    member = {"id": "m1", "email": "ana@example.com", "name": None, "created_at": "2025-02-09T13:00:00.000Z"}
    body = json.dumps({"member": {"current": member, "previous": {}}}).encode()
    assert deliver(url, clock, body).status_code == 202
    with system.database.read() as connection:
        assert connection.execute(select(SubscriptionRow.status)).scalar_one() == "active"
    assert rows(system)["deliveries"] == 0


def test_what_is_not_for_us_is_ignored_and_not_kept(url: str, system: System, clock: FakeClock) -> None:
    body = json.dumps({"member": {"current": {"id": "m1", "email": "a@b.example"}, "previous": {"name": "A"}}}).encode()
    assert deliver(url, clock, body).json()["status"] == "ignored"
    with system.database.read() as connection:
        assert connection.execute(select(EventRow.data)).scalar_one() == {"publication": "daily"}


def test_refusals(url: str, system: System, clock: FakeClock) -> None:
    body = (SAMPLES / "ghost-post-published.json").read_bytes()
    unsigned = httpx.post(url + PATH, content=body)
    stale = deliver(url, clock, body, late=301)
    assert [(one.status_code, fields(one)) for one in (unsigned, stale)] == [(401, ["x-ghost-signature"])] * 2
    closed = deliver(url, clock, body, path="/v1/sources/ghost/weekly")
    assert closed.status_code == 401
    assert deliver(url, clock, body, path="/v1/sources/ghost/nowhere").status_code == 404
    assert deliver(url, clock, body, path="/v1/sources/tumblr/daily").status_code == 404
    assert fields(deliver(url, clock, body, path=f"{PATH}?list=nothing")) == ["data.list"]
    assert fields(deliver(url, clock, b"{")) == ["body"]
    untitled = sample("ghost-post-published")
    untitled["post"]["current"]["title"] = "A\r\nB"
    assert fields(deliver(url, clock, json.dumps(untitled).encode())) == ["data.post.title"]
    assert sum(rows(system).values()) == 0
