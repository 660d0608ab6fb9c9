"""Texts that a database, a driver or an encoding cannot take: refused by name, never a fault of ours."""

from __future__ import annotations

import io
import json
from typing import Any

import httpx
import pytest

from tests.integration.audience.conftest import Desk
from tests.running import post_event, signup_event
from worker.audience.csvfile import BadRow, read_rows
from worker.bootstrap import System
from worker.delivery.throttling.base import Limit
from worker.delivery.throttling.redis import RedisLimiter
from worker.storage.models import CampaignRow, ConsentRow, DeliveryRow, LabelRow

EVENT = {"Content-Type": "application/cloudevents+json"}
ZONED = "fe80::1%" + "x" * 2_000


@pytest.mark.parametrize("path", ["/v1/events/%00", "/v1/events/x?source=%00", "/v1/events/%ed%a0%80"])
def test_an_event_that_cannot_be_is_not_there(http: httpx.Client, path: str) -> None:
    assert http.get(path).status_code == 404
    assert http.post(path.partition("?")[0] + "/replay", params=httpx.URL(path).params).status_code == 404


@pytest.mark.parametrize("path", ["/p/%00/subscribe", "/confirm/%00", "/unsubscribe/%ff%fe", "/manage/%ed%a0%80"])
def test_a_page_that_cannot_be_is_not_there(http: httpx.Client, path: str) -> None:
    assert http.get(path).status_code == 404
    assert http.post(path).status_code == 404


@pytest.mark.parametrize("name", ["\\ud800", "\\u0000", "\\n"])
def test_a_member_whose_name_is_no_text_is_refused(http: httpx.Client, name: str) -> None:
    answer = http.post("/p/daily/subscribe", content=f'{{"{name}": 1}}', headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "body"


def test_the_zone_of_an_ip_address_is_not_kept(http: httpx.Client, desk: Desk) -> None:
    """It is no part of an address, and may be longer than any column and hold anything."""
    event = signup_event("ana@example.com")
    event["data"]["consent"] = {"at": "2025-01-01T00:00:00Z", "ip": ZONED}
    assert http.post("/v1/events", content=json.dumps(event), headers=EVENT).status_code == 202
    assert {one.ip for one in desk.rows(ConsentRow)} == {"fe80::1"}


@pytest.mark.parametrize("environ", [{"PRESSRUN_TRUSTED_PROXIES": "127.0.0.0/8"}])
def test_a_forwarded_zone_is_not_kept(http: httpx.Client, desk: Desk) -> None:
    headers = {"X-Forwarded-For": ZONED}
    assert http.post("/p/daily/subscribe", data={"email": "ana@example.com"}, headers=headers).status_code == 200
    assert {one.ip for one in desk.rows(ConsentRow)} == {"fe80::1"}


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-10:00"])
def test_a_csv_with_a_time_beyond_all_calendars_is_a_bad_row(at: str) -> None:
    (row,) = read_rows(io.BytesIO(f"email,consent_at\na@example.com,{at}\n".encode()))
    assert isinstance(row, BadRow)
    assert "consent_at" in row.reason


SQL = [
    "' OR '1'='1", "'; DROP TABLE events; --", '" OR ""="', "%", "_", "*", "\\", "${jndi:ldap://x}", "{{7*7}}",
    "%s %(a)s :a",
]  # fmt: skip


@pytest.mark.parametrize("hostile", SQL)
def test_a_list_is_its_name_and_no_statement(http: httpx.Client, desk: Desk, hostile: str) -> None:
    event = post_event(f"p{len(hostile)}")
    event["data"]["list"] = hostile
    answer = http.post("/v1/events", content=json.dumps(event), headers=EVENT)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "data.list")
    assert http.post("/p/daily/subscribe", json={"email": "a@example.com", "lists": [hostile]}).status_code == 422
    assert http.get(f"/v1/events/{hostile}", params={"source": hostile}).status_code == 404
    assert desk.rows(CampaignRow) == []


def test_a_label_is_its_name_and_no_pattern(http: httpx.Client, desk: Desk, system: System) -> None:
    """A post for the readers labelled `%` goes to those, not to everybody with a label."""
    for number, label in enumerate(SQL):
        event = signup_event(f"reader{number}@example.com")
        event["data"]["subscriber"]["labels"] = [label]
        event["data"] |= {"confirmed": True, "consent": {"at": "2025-01-01T00:00:00Z", "form": "x"}}
        assert http.post("/v1/events", content=json.dumps(event), headers=EVENT).status_code == 202
    assert {one.label for one in desk.rows(LabelRow)} == set(SQL)
    for number, label in enumerate(SQL):
        event = post_event(f"post-{number}")
        event["data"]["labels"] = [label]
        answer: dict[str, Any] = http.post("/v1/events", content=json.dumps(event), headers=EVENT).json()
        assert answer["status"] == "accepted"
    for campaign in desk.rows(CampaignRow):
        system.planner.run(campaign.id)
    sent = [(one.campaign_id, one.address) for one in desk.rows(DeliveryRow) if one.campaign_id]
    assert sorted(address for _, address in sent) == sorted(f"reader{number}@example.com" for number in range(len(SQL)))
    assert len({campaign for campaign, _ in sent}) == len(SQL)


@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_limit_is_its_name_and_no_command(system: System) -> None:
    """The names of destinations go into a script of Redis as arguments, whatever is in them."""
    system.redis.set("there", "still")
    for hostile in ("x\r\nFLUSHALL\r\n", "'..redis.call('FLUSHALL')..'", "x\0{y}", "*"):
        assert RedisLimiter(system.redis).take([Limit(hostile, 10.0, 1.0)], 1).tokens == 1
    assert system.redis.get("there") in (b"still", "still")
