"""Campaigns and deliveries over HTTP: one's own, and nobody else's."""

from __future__ import annotations

import httpx
import pytest
from sqlalchemy import insert, update

from tests.integration.web.conftest import WEEKLY_TOKEN
from tests.integration.web.test_events import fields
from tests.ledger import Seeded, seed_campaign
from worker.bootstrap import System
from worker.domain.clock import FakeClock
from worker.storage.models import AttemptRow, DeliveryRow

OTHERS = {"Authorization": f"Bearer {WEEKLY_TOKEN}"}


@pytest.fixture
def seeded(system: System, clock: FakeClock) -> Seeded:
    return seed_campaign(system.database, clock.now(), 5)


def test_a_campaign(http: httpx.Client, seeded: Seeded) -> None:
    answer = http.get(f"/v1/campaigns/{seeded.campaign_id}")
    assert answer.status_code == 200
    campaign = answer.json()
    assert campaign["counts"] == {"queued": 5}
    assert (campaign["id"], campaign["publication"], campaign["status"]) == (seeded.campaign_id, "daily", "sending")


def test_deliveries_are_walked_page_by_page(http: httpx.Client, seeded: Seeded) -> None:
    path: str | None = f"/v1/campaigns/{seeded.campaign_id}/deliveries?limit=2&status=queued"
    seen: list[int] = []
    while path is not None:
        answer = http.get(path)
        seen += [one["id"] for one in answer.json()]
        path = answer.links["next"]["url"] if "next" in answer.links else None
    assert seen == list(seeded.deliveries)
    after = {"after": seeded.deliveries[2]}
    rest = http.get(f"/v1/campaigns/{seeded.campaign_id}/deliveries", params=after).json()
    assert [one["id"] for one in rest] == list(seeded.deliveries[3:])
    assert http.get(f"/v1/campaigns/{seeded.campaign_id}/deliveries?status=sent").json() == []


def test_a_delivery_tells_its_whole_life(
    http: httpx.Client, system: System, clock: FakeClock, seeded: Seeded
) -> None:
    first, second, third, *_ = seeded.deliveries
    now = clock.now()
    with system.database.write() as connection:
        taken = {"status": "sent", "attempts": 1, "last_attempt_at": now, "code": 250, "reply": "2.0.0 queued"}
        connection.execute(update(DeliveryRow).where(DeliveryRow.id == first).values(taken))
        waits = {"status": "deferred", "attempts": 1, "last_attempt_at": now, "next_attempt_at": now, "code": 451}
        connection.execute(update(DeliveryRow).where(DeliveryRow.id == second).values(waits))
        attempt = {"delivery_id": second, "at": now, "outcome": "temporary", "code": 451, "enhanced": "4.2.0",
                   "reply": "later", "duration_ms": 5}  # fmt: skip
        connection.execute(insert(AttemptRow).values(attempt))
    at = now.isoformat()
    sent = http.get(f"/v1/deliveries/{first}").json()
    # what went through at first try has no attempt on record, and tells of it all the same
    assert sent["attempts"] == [
        {"at": at, "outcome": "accepted", "code": 250, "enhanced": "", "reply": "2.0.0 queued"}
    ]
    assert sent["message_id"].startswith(f"<{first}.")
    assert sent["message_id"].endswith(f"@{system.publications['daily'].sender.domain}>")
    assert (sent["campaign"], sent["kind"], sent["status"]) == (seeded.campaign_id, "new_post", "sent")
    deferred = http.get(f"/v1/deliveries/{second}").json()
    assert deferred["next_attempt_at"] == at
    assert deferred["attempts"] == [
        {"at": at, "outcome": "temporary", "code": 451, "enhanced": "4.2.0", "reply": "later"}
    ]
    assert http.get(f"/v1/deliveries/{third}").json()["attempts"] == []
    listed = http.get(f"/v1/campaigns/{seeded.campaign_id}/deliveries?limit=1").json()
    assert set(listed[0]) == {
        "id", "campaign", "kind", "address", "status", "reason", "message_id", "next_attempt_at", "attempts"
    }  # fmt: skip


def test_control(http: httpx.Client, seeded: Seeded) -> None:
    base = f"/v1/campaigns/{seeded.campaign_id}"
    assert http.post(f"{base}/pause").json()["status"] == "paused"
    again = http.post(f"{base}/pause")
    assert again.status_code == 409
    assert "paused" in again.json()["detail"]
    assert http.post(f"{base}/resume").json()["status"] == "sending"
    assert http.post(f"{base}/retry", params={"status": "failed"}).status_code == 200
    refused = http.post(f"{base}/retry", params={"status": ["failed", "sent"]})
    assert fields(refused) == ["status"]
    assert "must be one of 'failed', 'bounced'" in refused.text
    assert "'sent'" not in refused.text, "only what it takes"
    assert http.post(f"{base}/cancel").json()["status"] == "cancelled"


def test_others_are_told_that_there_is_nothing(
    http: httpx.Client, seeded: Seeded, subtests: pytest.Subtests
) -> None:
    looks, acts = ("", "/deliveries"), ("/pause", "/resume", "/cancel", "/retry")
    for action in looks + acts:
        with subtests.test(action=action):
            method = "POST" if action in acts else "GET"
            path = f"/v1/campaigns/{seeded.campaign_id}{action}"
            theirs = http.request(method, path, headers=OTHERS)
            nothing = http.request(method, f"/v1/campaigns/99{action}", headers=OTHERS)
            assert theirs.status_code == nothing.status_code == 404
            assert theirs.text == nothing.text.replace("99", str(seeded.campaign_id))
            unknown = http.request(method, path, headers={"Authorization": "x"})
            assert (unknown.status_code, fields(unknown)) == (401, ["authorization"])
    assert http.get(f"/v1/campaigns/{seeded.campaign_id}").json()["status"] == "sending"


def test_others_see_no_delivery(http: httpx.Client, seeded: Seeded) -> None:
    theirs = http.get(f"/v1/deliveries/{seeded.deliveries[0]}", headers=OTHERS)
    nothing = http.get("/v1/deliveries/999", headers=OTHERS)
    assert theirs.status_code == nothing.status_code == 404
    assert theirs.text == nothing.text.replace("999", str(seeded.deliveries[0]))


BOUNDED = [
    ("/v1/campaigns/one", "id: must be a whole number"),
    ("/v1/campaigns/0", "id: must be 1 or more"),
    (f"/v1/campaigns/{2**63}", f"id: must be {2**63 - 1} or less"),
    (f"/v1/deliveries/{10**30}", f"id: must be {2**63 - 1} or less"),
    (f"/v1/deliveries/{'9' * 5000}", "id: is too large a number"),
    ("/v1/campaigns/1/deliveries?status=lost", "status: must be one of 'queued', 'sending', "),
    ("/v1/campaigns/1/deliveries?limit=0", "limit: must be 1 or more"),
    ("/v1/campaigns/1/deliveries?limit=1001", "limit: must be 1000 or less"),
    ("/v1/campaigns/1/deliveries?after=-1", "after: must be 0 or more"),
    (f"/v1/campaigns/1/deliveries?after={2**63}", f"after: must be {2**63 - 1} or less"),
]


def test_parameters_are_bounded(http: httpx.Client, subtests: pytest.Subtests) -> None:
    for path, words in BOUNDED:
        with subtests.test(path=path):
            answer = http.get(path)
            assert (answer.status_code, fields(answer)) == (422, [words.partition(":")[0]])
            assert answer.json()["detail"].startswith(words)
