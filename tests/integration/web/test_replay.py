"""Replay over HTTP: one's own, one or all, bounded; nobody else's."""

from __future__ import annotations

import httpx
import pytest
from sqlalchemy import insert, update

from tests.integration.campaigns.readers import set_status
from tests.integration.web.conftest import WEEKLY_TOKEN
from tests.integration.web.test_events import fields, rows
from tests.ledger import Seeded, seed_campaign
from worker.bootstrap import System
from worker.domain.clock import FakeClock
from worker.domain.delivery import Kind
from worker.domain.doorbell import RecordingDoorbell
from worker.storage.models import CampaignRow, EventRow
from worker.storage.outbox import Outgoing, put

OTHERS = {"Authorization": f"Bearer {WEEKLY_TOKEN}"}


@pytest.fixture
def seeded(system: System, clock: FakeClock) -> Seeded:
    return seed_campaign(system.database, clock.now(), 5)


def put_mail(system: System, clock: FakeClock) -> int:
    with system.database.write() as connection:
        made = put(connection, Outgoing("daily", Kind.WELCOME, "a@example.com", "", "welcome:1", None), clock.now())
    assert made is not None
    return made


def test_dead_deliveries_are_listed_over_all_campaigns(
    http: httpx.Client, system: System, clock: FakeClock, seeded: Seeded
) -> None:
    mail = put_mail(system, clock)
    set_status(system.database, [seeded.deliveries[1], mail], "failed", "our_fault")
    first = http.get("/v1/deliveries", params={"status": "failed", "limit": 1})
    assert [(one["id"], one["reason"]) for one in first.json()] == [(seeded.deliveries[1], "our_fault")]
    second = http.get(first.links["next"]["url"])
    assert [(one["id"], one["campaign"]) for one in second.json()] == [(mail, None)]
    assert http.get("/v1/deliveries", params={"status": "failed"}, headers=OTHERS).json() == []
    assert fields(http.get("/v1/deliveries")) == ["status"]


def test_one_delivery_is_sent_again_or_considered_sent(http: httpx.Client, system: System, seeded: Seeded) -> None:
    first, second, third, *_ = seeded.deliveries
    set_status(system.database, [first], "failed", "our_fault")
    set_status(system.database, [second, third], "unknown", "unknown_outcome")
    for action in ("retry", "mark-sent"):
        assert http.post(f"/v1/deliveries/{first}/{action}", headers=OTHERS).status_code == 404
    assert http.post(f"/v1/deliveries/{first}/retry").json()["status"] == "queued"
    assert http.post(f"/v1/deliveries/{first}/retry").status_code == 409
    assert http.post(f"/v1/deliveries/{second}/mark-sent").json()["status"] == "sent"
    assert http.post(f"/v1/deliveries/{second}/mark-sent").status_code == 409
    campaign = http.post(f"/v1/campaigns/{seeded.campaign_id}/mark-sent").json()
    assert campaign["counts"] == {"queued": 3, "sent": 2}
    assert http.post(f"/v1/campaigns/{seeded.campaign_id}/mark-sent", headers=OTHERS).status_code == 404


def test_transactional_mail_is_sent_again(
    http: httpx.Client, system: System, clock: FakeClock, doorbell: RecordingDoorbell
) -> None:
    mail = put_mail(system, clock)
    set_status(system.database, [mail], "failed", "our_fault")
    theirs = http.post("/v1/transactional/retry", headers=OTHERS)
    assert theirs.json() == {"queued": 0, "worthless": 0, "more": False}
    assert http.post("/v1/transactional/retry").json() == {"queued": 1, "worthless": 0, "more": False}
    assert doorbell.rings == [("transactional", mail)]
    assert fields(http.post("/v1/transactional/retry", params={"status": "sent"})) == ["status"]


def test_a_retry_says_what_is_left_of_it(http: httpx.Client, seeded: Seeded, system: System) -> None:
    set_status(system.database, seeded.deliveries, "failed")
    campaign = http.post(f"/v1/campaigns/{seeded.campaign_id}/retry").json()
    assert (campaign["counts"], campaign["retrying"]) == ({"queued": 5}, [])


def test_a_failed_campaign_can_be_cancelled(http: httpx.Client, seeded: Seeded, system: System) -> None:
    with system.database.write() as connection:
        connection.execute(update(CampaignRow).values(status="failed", reason="body.html:1: no"))
    assert http.post(f"/v1/campaigns/{seeded.campaign_id}/cancel").json()["status"] == "cancelled"


def test_events_are_listed_and_replayed(http: httpx.Client, system: System, clock: FakeClock) -> None:
    data = {"publication": "daily", "subscriber": {"email": "ana@example.com"}}
    with system.database.write() as connection:
        connection.execute(insert(EventRow).values(
            publication="daily", source="https://blog.example", event_id="a/b", type="subscriber.created",
            received_at=clock.now(), body_hash="x", data=data, status="ignored", note="type … is not known here",
        ))  # fmt: skip
    (listed,) = http.get("/v1/events", params={"status": "ignored"}).json()
    assert (listed["id"], listed["status"], listed["publication"]) == ("a/b", "ignored", "daily")
    assert http.get("/v1/events", headers=OTHERS).json() == []
    assert http.post("/v1/events/a/b/replay", headers=OTHERS).status_code == 404
    done = http.post("/v1/events/a/b/replay")
    assert (done.status_code, done.json()["status"]) == (200, "accepted")
    assert rows(system)["deliveries"] == 1
    assert http.post("/v1/events/a/b/replay").status_code == 409
    assert http.get("/v1/events/a/b").json()["status"] == "accepted"
    assert fields(http.get("/v1/events", params={"limit": 0})) == ["limit"]
