"""Signatures that are forged, stale, borrowed or replayed, over the wire. Their reading alone: `unit/intake`."""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import httpx
import pytest

from tests.integration.audience.conftest import Desk
from tests.integration.web.conftest import WEEKLY_TOKEN
from tests.running import post_event, signup_event
from tests.unit.intake.making import GHOST_SECRET, SECRET_BYTES, TOKEN, sample
from worker.bootstrap import System
from worker.intake.signatures import sign
from worker.storage.models import EventRow, SubscriberRow

pytestmark = pytest.mark.parametrize("backend", ["sqlite"])


def _signed(system: System, event: dict[str, Any], *, age: float = 0, **changes: str) -> tuple[bytes, dict[str, str]]:
    body = json.dumps(event).encode()
    at = int(system.clock.now().timestamp() - age)
    headers = {
        "Content-Type": "application/cloudevents+json", "webhook-id": "msg_1", "webhook-timestamp": str(at),
        "webhook-signature": sign(SECRET_BYTES, "msg_1", at, body),
    }  # fmt: skip
    return body, headers | changes


@pytest.fixture
def stranger(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=20) as client:
        yield client


def test_a_replayed_request_changes_nothing(stranger: httpx.Client, system: System, desk: Desk) -> None:
    body, headers = _signed(system, signup_event("ana@example.com"))
    answers = [stranger.post("/v1/events", content=body, headers=headers) for _ in range(3)]
    assert [one.json()["status"] for one in answers] == ["accepted", "duplicate", "duplicate"]
    assert len(desk.rows(EventRow)) == 1
    assert len(desk.mails()) == 1


@pytest.mark.parametrize("age", [301, 3600, -301])
def test_a_replay_after_five_minutes_is_stale(stranger: httpx.Client, system: System, desk: Desk, age: int) -> None:
    body, headers = _signed(system, signup_event("ana@example.com"), age=age)
    answer = stranger.post("/v1/events", content=body, headers=headers)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (401, "webhook-timestamp")
    assert desk.rows(EventRow) == []


def test_a_replay_made_fresh_is_forged(stranger: httpx.Client, system: System, desk: Desk) -> None:
    """The time, the id and the body are signed: none can be another than was signed."""
    event = signup_event("ana@example.com")
    body, headers = _signed(system, event, age=400)
    now = str(int(system.clock.now().timestamp()))
    fresh_body, fresh = _signed(system, event)
    for content, given in (
        (body, headers | {"webhook-timestamp": now}),
        (fresh_body, fresh | {"webhook-id": "msg_2"}),
        (fresh_body.replace(b"ana@", b"eve@"), fresh),
        (fresh_body + b" ", fresh),
        (b"", fresh),
    ):
        answer = stranger.post("/v1/events", content=content, headers=given)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (401, "webhook-signature")
    assert desk.rows(EventRow) == []


FORGED = ["", "v1,", "v1", "v2,AAAA", "v1a,AAAA", "v1,AAAA v1,BBBB", "v1," + "A" * 44, "none", "v1,\xff"]


@pytest.mark.parametrize("signature", FORGED)
def test_a_forged_signature(stranger: httpx.Client, system: System, signature: str) -> None:
    body, headers = _signed(system, signup_event("ana@example.com"))
    del headers["webhook-signature"]
    given = [(name.encode(), value.encode()) for name, value in headers.items()]
    given.append((b"webhook-signature", signature.encode("latin-1")))
    assert stranger.post("/v1/events", content=body, headers=given).status_code == 401


@pytest.mark.parametrize(
    "authorization", ["Bearer", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}",
                      f"Bearer {TOKEN.upper()}", "Bearer null", "Bearer undefined", f"Bearer\t{TOKEN}"],
)  # fmt: skip
def test_a_guessed_token(stranger: httpx.Client, authorization: str) -> None:
    """Whatever the API has: this goes by its own description."""
    tried = 0
    for path, operations in stranger.get("/openapi.json").json()["paths"].items():
        for method in operations.keys() & {"get", "post", "put", "patch", "delete"}:
            if path.startswith("/v1/") and not path.startswith("/v1/sources/"):
                real = re.sub(r"\{[^}]*\}", "1", path)
                answer = stranger.request(method, real, headers={"Authorization": authorization})
                assert (real, answer.status_code) == (real, 401)
                tried += 1
    assert tried > 8


def test_a_wrong_token_is_not_mended_by_a_signature(stranger: httpx.Client, system: System) -> None:
    body, headers = _signed(system, signup_event("ana@example.com"), Authorization="Bearer wrong")
    assert stranger.post("/v1/events", content=body, headers=headers).status_code == 401


def test_a_credential_of_another_publication(stranger: httpx.Client, desk: Desk) -> None:
    """Neither to write for it, nor to write to its readers, nor to stop it."""
    mine, theirs = {"Authorization": f"Bearer {TOKEN}"}, {"Authorization": f"Bearer {WEEKLY_TOKEN}"}
    campaign = stranger.post("/v1/events", json=post_event(), headers=mine).json()["note"]
    assert "campaign" in campaign
    before = desk.dump()
    assert stranger.post("/v1/events", json=signup_event("a@example.com"), headers=theirs).status_code == 422
    assert stranger.post("/v1/campaigns/1/cancel", headers=theirs).status_code == 404
    assert stranger.get("/v1/events/post-1-published", headers=theirs).status_code == 404
    assert desk.dump() == before
    assert desk.rows(SubscriberRow) == []


def test_a_replayed_webhook_of_ghost_changes_nothing(stranger: httpx.Client, system: System, desk: Desk) -> None:
    """Older Ghosts do not sign the time, so that a replay can be made fresh: it is the same event all the same."""
    body = json.dumps(sample("ghost-post-published")).encode()
    statuses = []
    for later in (0, 86_400):
        at = int((system.clock.now().timestamp()) * 1000)
        digest = hmac.new(GHOST_SECRET.encode(), body, sha256).hexdigest()
        headers = {"X-Ghost-Signature": f"sha256={digest}, t={at}", "Content-Type": "application/json"}
        statuses.append(stranger.post("/v1/sources/ghost/daily", content=body, headers=headers).json()["status"])
        desk.clock.advance(seconds=later or 86_400)
    assert statuses == ["accepted", "duplicate"]
    assert len(desk.rows(EventRow)) == 1


def test_a_signature_for_ghost_is_none_for_events(stranger: httpx.Client, system: System) -> None:
    body = json.dumps(sample("ghost-post-published")).encode()
    at = int(system.clock.now().timestamp())
    digest = hmac.new(GHOST_SECRET.encode(), body, sha256).hexdigest()
    headers = {"webhook-id": "1", "webhook-timestamp": str(at), "webhook-signature": f"v1,{digest}"}
    assert stranger.post("/v1/events", content=body, headers=headers).status_code == 401
    given = {"X-Ghost-Signature": sign(SECRET_BYTES, "1", at, body)}
    assert stranger.post("/v1/sources/ghost/daily", content=body, headers=given).status_code == 401
