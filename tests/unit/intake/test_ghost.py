"""Ghost's webhooks: its signature, and what its objects become."""

from __future__ import annotations

import hmac
import json
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.intake.making import GHOST_SECRET, SAMPLES, hostile, publication, sample
from worker.domain.errors import InvalidInput
from worker.domain.events import Event
from worker.intake.payloads import PostPublished, SubscriberCreated, read_payload
from worker.intake.signatures import Unauthorised
from worker.intake.sources import Webhook
from worker.intake.sources.ghost import check_signature, ghost_event

DAILY = publication()
NOW = 1739109900.0
# Ghost's own test vector: the body, then the digits of `t`
VECTOR = b'{"event":"post.added","data":[1]}'
VECTOR_HEX = "cb0a3b68c9a182b0ad29f3b744f1470e63ede3fcb517a61318bf91197092b431"


def webhook(body: bytes, signature: str, now: float = NOW, list_: str | None = None) -> Webhook:
    return Webhook({"x-ghost-signature": signature}, body, list_, now, 300)


def signed(body: bytes, list_: str | None = None) -> Webhook:
    milliseconds = f"{NOW * 1000:.0f}"
    digest = hmac.digest(GHOST_SECRET.encode(), body + milliseconds.encode(), sha256).hex()
    return webhook(body, f"sha256={digest}, t={milliseconds}", list_=list_)


def event(value: object, list_: str | None = None) -> Event:
    return ghost_event(DAILY, signed(json.dumps(value).encode(), list_))


def member(current: object, previous: object) -> dict[str, Any]:
    return {"member": {"current": current, "previous": previous}}


ANA = {"id": "m1", "email": "ana@example.com", "name": "Ana", "created_at": "2025-02-09T13:00:00.000Z", "labels": []}


def test_the_vector() -> None:
    check_signature(DAILY, webhook(VECTOR, f"sha256={VECTOR_HEX}, t=0", now=0))


def test_older_ghosts_sign_the_body_alone() -> None:
    digest = hmac.digest(GHOST_SECRET.encode(), VECTOR, sha256).hex()
    check_signature(DAILY, webhook(VECTOR, f"sha256={digest}, t=0", now=0))


@pytest.mark.parametrize(
    "signature",
    ["", "sha256=", f"sha256={VECTOR_HEX}", f"sha256={VECTOR_HEX[:-1]}0, t=0", f"sha256={VECTOR_HEX}, t=1",
     f"sha256={VECTOR_HEX}, t=-0", f"sha1={VECTOR_HEX}, t=0", f"sha256={VECTOR_HEX}, t=" + "9" * 40],
)  # fmt: skip
def test_signatures_that_are_none(signature: str) -> None:
    with pytest.raises(Unauthorised) as error:
        check_signature(DAILY, webhook(VECTOR, signature, now=0))
    assert error.value.field == "x-ghost-signature"


def test_a_stale_signature_says_how_old_it_is() -> None:
    with pytest.raises(Unauthorised, match=r"301 s old, 300 s are allowed"):
        check_signature(DAILY, webhook(VECTOR, f"sha256={VECTOR_HEX}, t=0", now=301))


def test_a_publication_without_a_secret_for_ghost_is_closed() -> None:
    names = ("slug", "name", "sender", "brand", "lists")
    closed = type(DAILY)(**{name: getattr(DAILY, name) for name in names})
    with pytest.raises(Unauthorised, match="no secret for Ghost"):
        check_signature(closed, webhook(VECTOR, f"sha256={VECTOR_HEX}, t=0", now=0))


def test_the_sample_is_the_same_post_as_the_cloudevent() -> None:
    found = ghost_event(DAILY, signed((SAMPLES / "ghost-post-published.json").read_bytes()))
    ours = read_payload(PostPublished, sample("post-published")["data"]).post
    theirs = read_payload(PostPublished, found.data).post
    assert found.type == "post.published"
    # one was written by hand from the other, with straight for curly quotes and no ids on headings
    same = {"id", "title", "url", "excerpt", "image", "image_alt", "published_at", "tags", "authors"}
    assert theirs.model_dump(include=same) == ours.model_dump(include=same)
    assert "Trade Relations" in theirs.html


def test_a_redelivery_is_the_same_event_and_a_new_edition_another() -> None:
    given_post = sample("ghost-post-published")
    first = event(given_post)
    assert event(given_post) == first
    given_post["post"]["current"]["updated_at"] = "2025-02-10T08:00:00.000Z"
    assert event(given_post).id != first.id


def test_ghost_itself_leaves_the_name_out() -> None:
    given_post = sample("ghost-post-published")
    named = event(given_post)
    del given_post["event"]
    assert event(given_post) == named


def test_an_unpublished_post() -> None:
    post = {"id": "p1", "status": "draft", "published_at": None, "updated_at": "2025-02-10T08:00:00.000Z"}
    found = event({"post": {"current": post, "previous": {"status": "published"}}})
    assert (found.type, found.data) == ("post.unpublished", {"publication": "daily", "post": {"id": "p1"}})


def test_a_member_is_active_at_once() -> None:
    found = event(member(ANA, {}), "posts")
    payload = read_payload(SubscriberCreated, found.data)
    assert (found.type, payload.confirmed, payload.lists) == ("subscriber.created", True, ["posts"])
    assert payload.subscriber.email == "ana@example.com"
    assert payload.consent is not None
    assert payload.consent.at is not None


def test_a_member_who_left() -> None:
    found = event(member({}, ANA))
    assert (found.type, found.data["subscriber"]) == ("subscriber.deleted", {"email": "ana@example.com"})


@pytest.mark.parametrize(
    "value",
    [
        member(ANA, {"name": "Anna"}),
        {"event": "page.published", "page": {"current": {}}},
        {"post": {"current": {"status": "published"}, "previous": {"status": "published"}}},
        {},
        # a post for those who pay must not go to everybody
        {"event": "post.published", "post": {"current": {"id": "p1", "visibility": "paid"}}},
    ],
)
def test_what_is_not_for_us_is_ignored(value: object) -> None:
    found = event(value)
    assert found.type.startswith("ghost.")
    assert found.data == {"publication": "daily"}


@pytest.mark.parametrize(
    "value", [[], {"event": "post.published"}, {"event": "member.added", "member": {}}, {"post": 7}]
)
def test_malformed_webhooks_are_refused_by_name(value: object) -> None:
    with pytest.raises(InvalidInput) as error:
        event(value)
    assert error.value.problems[0].field


names = st.sampled_from(
    ["event", "post", "member", "current", "previous", "status", "id", "tags", "authors", "name", "visibility"]
)
words = st.sampled_from(["post.published", "member.added", "published", "draft", "public"]) | st.text(max_size=5)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=5),
    max_leaves=15,
)


@hostile
@given(st.dictionaries(names, values))
def test_hostile_webhooks_are_read_or_refused(value: dict[str, Any]) -> None:
    try:
        found = event(value)
    except InvalidInput as error:
        assert all(one.field for one in error.problems)  # noqa: PT017
    else:
        assert len(found.id) <= 256
        assert len(found.type) <= 256
