"""`POST /v1/events` over HTTP, on both databases: what is taken, what is refused; a refusal changes nothing."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from tests.integration.web.conftest import WEEKLY_TOKEN
from tests.unit.intake.making import SECRET_BYTES, TOKEN, sample
from worker.bootstrap import System
from worker.domain.clock import FakeClock
from worker.domain.doorbell import Doorbell, RecordingDoorbell
from worker.intake.signatures import sign
from worker.storage.models import Base, CampaignRow, DeliveryRow, EventRow, SubscriberRow

STRUCTURED = {"Content-Type": "application/cloudevents+json"}
SIGN_UP, POST = sample("subscriber-created"), sample("post-published")


def rows(system: System) -> dict[str, int]:
    """How many rows every table has."""
    with system.database.read() as connection:
        return {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in Base.metadata.sorted_tables
        }


def post(http: httpx.Client, event: object, **headers: str) -> httpx.Response:
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    return http.post("/v1/events", content=body, headers=STRUCTURED | headers)


def fields(answer: httpx.Response) -> list[str]:
    """The fields that a problem names; it is one by RFC 9457."""
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["status"], problem["type"]) == (answer.status_code, "about:blank")
    assert problem["title"]
    assert problem["detail"]
    return [one["field"] for one in problem["errors"]]


def with_data(event: dict[str, Any], **data: object) -> dict[str, Any]:
    return event | {"data": event["data"] | data}


def with_post(**change: object) -> dict[str, Any]:
    given = {name: one for name, one in (POST["data"]["post"] | change).items() if one != "MISSING"}
    return with_data(POST, post=given)


def with_email(email: object) -> dict[str, Any]:
    return with_data(SIGN_UP, subscriber={"email": email})


def test_a_sign_up_is_on_record_with_its_confirmation(http: httpx.Client, system: System, doorbell: Doorbell) -> None:
    answer = post(http, SIGN_UP)
    assert answer.status_code == 202
    assert answer.json() | {"note": ""} == {"id": "signup-0001", "status": "accepted", "note": ""}
    with system.database.read() as connection:
        event = connection.execute(select(EventRow.status, EventRow.subscriber_id, EventRow.data)).one()
        delivery = connection.execute(select(DeliveryRow.id, DeliveryRow.kind, DeliveryRow.status)).one()
        reader = connection.execute(select(SubscriberRow.id, SubscriberRow.name)).one()
    assert (event.status, event.subscriber_id, event.data) == ("accepted", reader.id, SIGN_UP["data"])
    assert (delivery.kind, delivery.status) == ("confirmation", "queued")
    assert isinstance(doorbell, RecordingDoorbell)
    assert doorbell.rings == [("transactional", delivery.id)]


def test_a_post_opens_its_campaign(http: httpx.Client, system: System, doorbell: Doorbell) -> None:
    assert post(http, POST).status_code == 202
    with system.database.read() as connection:
        campaign = connection.execute(select(CampaignRow.id, CampaignRow.post, CampaignRow.list_slug)).one()
        event = connection.execute(select(EventRow.campaign_id, EventRow.note)).one()
    assert event.campaign_id == campaign.id
    assert str(campaign.id) in event.note
    assert campaign.list_slug == "posts"
    assert campaign.post["title"] == POST["data"]["post"]["title"]
    assert isinstance(doorbell, RecordingDoorbell)
    assert doorbell.rings == [("plan", campaign.id)]


def test_the_same_event_again_changes_nothing(http: httpx.Client, system: System, doorbell: Doorbell) -> None:
    post(http, POST)
    post(http, SIGN_UP)
    before = rows(system)
    assert isinstance(doorbell, RecordingDoorbell)
    doorbell.rings.clear()
    # as another program would write it: members in another order, other white space, a tracing extension
    again = json.dumps({"traceparent": "00-x"} | dict(reversed(POST.items())), indent=3, sort_keys=True).encode()
    for answer in (post(http, POST), post(http, again), post(http, SIGN_UP)):
        assert (answer.status_code, answer.json()["status"]) == (200, "duplicate")
    assert rows(system) == before
    assert doorbell.rings == []


def test_the_same_id_with_another_body_is_a_conflict(http: httpx.Client, system: System) -> None:
    post(http, POST)
    before = rows(system)
    answer = post(http, with_post(title="Another title"))
    assert answer.status_code == 409
    assert fields(answer) == []
    assert POST["id"] in answer.json()["detail"]
    assert rows(system) == before


def test_the_same_id_from_another_source_is_another_event(http: httpx.Client, system: System) -> None:
    post(http, SIGN_UP)
    assert post(http, SIGN_UP | {"source": "https://elsewhere.example"}).status_code == 202
    assert rows(system)["events"] == 2


def test_binary_mode_is_the_same_event(http: httpx.Client) -> None:
    post(http, POST)
    headers = {f"ce-{name}": POST[name] for name in ("specversion", "id", "source", "type", "time", "subject")}
    body = json.dumps(POST["data"]).encode()
    answer = http.post("/v1/events", content=body, headers={"Content-Type": "application/json", **headers})
    assert (answer.status_code, answer.json()["status"]) == (200, "duplicate")


def test_an_unknown_type_is_on_record_as_ignored(http: httpx.Client, system: System) -> None:
    event = {"specversion": "1.0", "id": "1", "source": "/s", "type": "weather.changed", "data": {"rain": True}}
    answer = post(http, event)
    assert (answer.status_code, answer.json()["status"]) == (202, "ignored")
    assert "weather.changed" in answer.json()["note"]
    assert post(http, event).status_code == 200
    with system.database.read() as connection:
        assert connection.execute(select(EventRow.status, EventRow.data)).one() == ("ignored", {"rain": True})


def test_confirmed_readers_get_no_mail(http: httpx.Client, system: System) -> None:
    assert post(http, with_data(SIGN_UP, confirmed=True)).status_code == 202
    assert rows(system)["deliveries"] == 0
    assert rows(system)["subscriptions"] == 1


def test_a_reader_is_changed_and_deleted(http: httpx.Client, system: System) -> None:
    post(http, with_data(SIGN_UP, confirmed=True))
    about = {"email": SIGN_UP["data"]["subscriber"]["email"]}
    base = SIGN_UP | {"data": {"publication": "daily"}}
    changed = with_data(base, subscriber=about | {"name": "Ana L."}) | {"id": "2", "type": "subscriber.updated"}
    assert post(http, changed).status_code == 202
    with system.database.read() as connection:
        assert connection.execute(select(SubscriberRow.name)).scalar_one() == "Ana L."
    deleted = with_data(base, subscriber=about) | {"id": "3", "type": "subscriber.deleted"}
    assert post(http, deleted).status_code == 202
    for event in (changed, deleted):
        missing = with_data(event, subscriber={"email": "nobody@example.com"}) | {"id": event["id"] + "n"}
        assert post(http, missing).status_code == 202


def test_an_unpublished_post_cancels_and_published_again_goes_on(http: httpx.Client, system: System) -> None:
    post(http, POST)
    body = {"publication": "daily", "post": {"id": POST["data"]["post"]["id"]}}
    assert post(http, POST | {"id": "u1", "type": "post.unpublished", "data": body}).status_code == 202
    with system.database.read() as connection:
        assert connection.execute(select(CampaignRow.status)).scalar_one() == "cancelled"
    assert post(http, POST | {"id": "p2"}).status_code == 202
    with system.database.read() as connection:
        assert connection.execute(select(CampaignRow.status)).scalar_one() == "planning"
    assert rows(system)["campaigns"] == 1
    unknown = POST | {"id": "u2", "type": "post.unpublished", "data": body | {"post": {"id": "never"}}}
    assert post(http, unknown).json()["note"] == "no campaign was made of this post"


def test_an_archive_is_held_and_says_so(http: httpx.Client, system: System) -> None:
    notes = []
    for n in range(12):
        answer = post(http, with_post(id=f"p{n}") | {"id": f"e{n}"})
        assert answer.status_code == 202
        notes.append(answer.json()["note"])
    assert ["held" in note for note in notes] == [False] * 10 + [True] * 2
    with system.database.read() as connection:
        statement = select(CampaignRow.status, func.count().label("n")).group_by(CampaignRow.status)
        assert {row.status: row.n for row in connection.execute(statement)} == {"planning": 10, "paused": 2}


# -- who speaks


def signed(body: bytes, timestamp: int, secret: bytes = SECRET_BYTES) -> dict[str, str]:
    return STRUCTURED | {
        "webhook-id": "msg_1", "webhook-timestamp": str(timestamp),
        "webhook-signature": sign(secret, "msg_1", timestamp, body),
    }  # fmt: skip


def test_a_signed_event(url: str, clock: FakeClock) -> None:
    body, now = json.dumps(POST).encode(), int(clock.now().timestamp())
    assert httpx.post(f"{url}/v1/events", content=body, headers=signed(body, now)).status_code == 202
    # the same request again, as somebody who listened might send it
    assert httpx.post(f"{url}/v1/events", content=body, headers=signed(body, now)).status_code == 200


def test_who_is_not_known_is_not_listened_to(
    url: str, system: System, clock: FakeClock, subtests: pytest.Subtests
) -> None:
    body, now = json.dumps(POST).encode(), int(clock.now().timestamp())
    cut = signed(body, now)
    cut["webhook-signature"] = cut["webhook-signature"][:-4]
    cases: dict[str, tuple[dict[str, str], str]] = {
        "unsigned": (STRUCTURED, "authorization"),
        "another body": (signed(body + b" ", now), "webhook-signature"),
        "another secret": (signed(body, now, b"y" * 32), "webhook-signature"),
        "cut short": (cut, "webhook-signature"),
        "stale": (signed(body, now - 301), "webhook-timestamp"),
        "early": (signed(body, now + 301), "webhook-timestamp"),
        "token cut short": (STRUCTURED | {"Authorization": f"Bearer {TOKEN[:-1]}"}, "authorization"),
        # nothing is parsed for who is not known
        "not JSON": (STRUCTURED, "authorization"),
    }
    for case, (headers, field) in cases.items():
        with subtests.test(case):
            answer = httpx.post(f"{url}/v1/events", content=b"{" if case == "not JSON" else body, headers=headers)
            assert (answer.status_code, fields(answer)) == (401, [field])
            assert "Bearer" in answer.headers["www-authenticate"]
            assert TOKEN not in answer.text
    assert sum(rows(system).values()) == 0


def test_a_credential_speaks_for_its_own_publication_only(http: httpx.Client, system: System) -> None:
    answer = post(http, POST, Authorization=f"Bearer {WEEKLY_TOKEN}")
    assert (answer.status_code, fields(answer)) == (422, ["data.publication"])
    assert sum(rows(system).values()) == 0


# -- what is refused


REFUSED: list[tuple[object, str]] = [
    (b"", "body"),
    (b"{", "body"),
    (b"[]", "body"),
    (json.dumps(POST).encode()[:-10], "body"),
    (json.dumps(POST).encode("utf-16"), "body"),
    (b"[" * 200_000, "body"),
    ({name: one for name, one in POST.items() if name != "specversion"}, "specversion"),
    ({name: one for name, one in POST.items() if name != "id"}, "id"),
    (POST | {"id": 7}, "id"),
    (POST | {"id": "x" * 257}, "id"),
    (POST | {"id": "a\0b"}, "id"),
    (POST | {"time": "yesterday"}, "time"),
    (POST | {"data": "text"}, "data"),
    (POST | {"data": None}, "data.publication"),
    (with_data(POST, publication="nowhere"), "data.publication"),
    (with_data(POST, publication=None), "data.publication"),
    (with_data(POST, publication=["daily"]), "data.publication"),
    (with_data(POST, list="nothing"), "data.list"),
    (with_data(POST, list=["posts"]), "data.list"),
    (with_data(POST, post="text"), "data.post"),
    (with_post(title="MISSING"), "data.post.title"),
    (with_post(title=["a"]), "data.post.title"),
    (with_post(title="A\r\nBcc: everybody@example.com"), "data.post.title"),
    (with_post(title="A\0B"), "data.post.title"),
    (with_post(title="\ud800"), "data.post.title"),
    (with_post(url="/relative"), "data.post.url"),
    (with_post(html={"p": 1}), "data.post.html"),
    (with_post(published_at="soon"), "data.post.published_at"),
    (with_email("ana@example.com\nBcc: x@example.com"), "data.subscriber.email"),
    (with_email("ana\0@example.com"), "data.subscriber.email"),
    (with_email("ana"), "data.subscriber.email"),
    (with_email("ana@"), "data.subscriber.email"),
    (with_email("a" * 400 + "@example.com"), "data.subscriber.email"),
    (with_email(None), "data.subscriber.email"),
    (with_data(SIGN_UP, subscriber=["ana@example.com"]), "data.subscriber"),
    (with_data(SIGN_UP, lists=["posts", "nothing"]), "data.lists.1"),
    (with_data(SIGN_UP, confirmed="yes"), "data.confirmed"),
    (with_data(SIGN_UP, confirmed=True, consent=None), "data.consent"),
    (with_data(SIGN_UP, confirmed=True, consent={"at": "2999-01-01T00:00:00Z", "form": "x"}), "data.consent.at"),
]


def test_a_refusal_names_the_field_and_changes_nothing(
    http: httpx.Client, system: System, doorbell: Doorbell, subtests: pytest.Subtests
) -> None:
    for number, (event, field) in enumerate(REFUSED):
        with subtests.test(number=number, field=field):
            answer = post(http, event)
            assert (answer.status_code, fields(answer)) == (422, [field])
            assert sum(rows(system).values()) == 0
    assert isinstance(doorbell, RecordingDoorbell)
    assert doorbell.rings == []


def test_a_missing_list_is_asked_for_where_there_are_several(http: httpx.Client, system: System) -> None:
    event = with_data(POST, publication="weekly", list=None)
    answer = post(http, event, Authorization=f"Bearer {WEEKLY_TOKEN}")
    assert (answer.status_code, fields(answer)) == (422, ["data.list"])
    assert "'posts', 'notes'" in answer.json()["detail"]
    assert sum(rows(system).values()) == 0


def test_a_missing_list_is_the_only_one(http: httpx.Client, system: System) -> None:
    assert post(http, with_data(POST, list=None)).status_code == 202
    with system.database.read() as connection:
        assert connection.execute(select(CampaignRow.list_slug)).scalar_one() == "posts"


@pytest.mark.parametrize("backend", ["sqlite"])
def test_other_kinds_of_body_are_not_taken(http: httpx.Client, system: System, subtests: pytest.Subtests) -> None:
    headers = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/", "ce-type": "t"}
    structured = "application/cloudevents"
    refused = (f"{structured}-batch+json", f"{structured}+avro", "text/plain", f"{structured}+json; charset=latin-1")
    for content_type in refused:
        with subtests.test(content_type):
            answer = post(http, [POST], **headers, **{"Content-Type": content_type})
            assert (answer.status_code, fields(answer)) == (415, ["content-type"])
    assert sum(rows(system).values()) == 0


def test_a_compressed_body_is_not_taken(http: httpx.Client) -> None:
    answer = post(http, POST, **{"Content-Encoding": "gzip"})
    assert (answer.status_code, fields(answer)) == (415, ["content-encoding"])


def test_five_megabytes_of_html_are_too_much(http: httpx.Client, system: System) -> None:
    answer = post(http, with_post(html="<p>x</p>" * 655_360))
    assert (answer.status_code, fields(answer)) == (413, ["body"])
    assert "1048576" in answer.json()["detail"]
    assert sum(rows(system).values()) == 0


def test_a_body_that_grows_too_large_is_not_read_to_its_end(http: httpx.Client, system: System) -> None:
    """Without a length in front, as a stream."""
    answer = http.post("/v1/events", content=(b" " * 65_536 for _ in range(80)), headers=STRUCTURED)
    assert (answer.status_code, fields(answer)) == (413, ["body"])
    assert sum(rows(system).values()) == 0


@pytest.mark.parametrize("size", [64 * 1024, 1_000_000])
def test_large_events_within_the_limit_are_taken(http: httpx.Client, size: int) -> None:
    assert post(http, with_post(html="<p>€</p>" + "x" * size)).status_code == 202


@pytest.mark.parametrize("environ", [{"PRESSRUN_MAX_EVENT_BYTES": "65536"}])
def test_the_limit_is_a_setting(http: httpx.Client) -> None:
    answer = post(http, with_post(html="x" * 65_536))
    assert answer.status_code == 413
    assert answer.json()["detail"] == "body: is larger than 65536 bytes, the limit here (PRESSRUN_MAX_EVENT_BYTES)"


# -- the rest of the face


def test_the_handshake_of_the_webhook_specification(url: str) -> None:
    answer = httpx.options(f"{url}/v1/events", headers={"WebHook-Request-Origin": "blog.example"})
    assert answer.status_code == 200
    assert answer.headers["webhook-allowed-origin"] == "blog.example"
    assert answer.headers["webhook-allowed-rate"] == "*"
    assert "POST" in answer.headers["allow"]
    assert "webhook-allowed-origin" not in httpx.options(f"{url}/v1/events").headers


def test_what_became_of_an_event(http: httpx.Client) -> None:
    post(http, POST | {"id": "a/b c?é"})
    found = http.get("/v1/events/a%2Fb%20c%3F%C3%A9")
    assert found.status_code == 200
    event = found.json()
    assert (event["id"], event["type"], event["status"]) == ("a/b c?é", "post.published", "accepted")
    assert http.get(f"/v1/campaigns/{event['campaign']}").json()["post"] == POST["data"]["post"]["id"]
    assert http.get("/v1/events/other").status_code == 404
    assert http.get("/v1/events/a%2Fb%20c%3F%C3%A9", params={"source": "/x"}).status_code == 404
    others = {"Authorization": f"Bearer {WEEKLY_TOKEN}"}
    assert http.get("/v1/events/a%2Fb%20c%3F%C3%A9", headers=others).status_code == 404
    assert fields(http.get("/v1/events/x", headers={"Authorization": ""})) == ["authorization"]
