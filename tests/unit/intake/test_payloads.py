"""What events may say, and what a wrong member is called in the answer."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.intake.making import hostile, sample
from worker.domain.errors import InvalidInput
from worker.intake.payloads import (
    PostPublished,
    PostUnpublished,
    SubscriberCreated,
    SubscriberDeleted,
    SubscriberUpdated,
    read_payload,
)

POST = {"id": "p1", "title": "A post", "url": "https://blog.example/p1"}
MODELS = [PostPublished, PostUnpublished, SubscriberCreated, SubscriberDeleted, SubscriberUpdated]


def post(**change: object) -> dict[str, Any]:
    return {"publication": "daily", "post": {name: one for name, one in (POST | change).items() if one != "MISSING"}}


def subscriber(change: dict[str, Any] | None = None, **data: object) -> dict[str, Any]:
    return {"publication": "daily", "subscriber": {"email": "ana@example.com"} | (change or {}), **data}


def refused(model: Any, data: dict[str, Any]) -> list[str]:
    with pytest.raises(InvalidInput) as error:
        read_payload(model, data)
    return [one.field for one in error.value.problems]


def test_the_samples() -> None:
    read = read_payload(PostPublished, sample("post-published")["data"])
    assert read.post.authors[0].name == "Chandraketu Tripathi"
    created = read_payload(SubscriberCreated, sample("subscriber-created")["data"])
    assert (created.lists, created.subscriber.name, created.confirmed) == (["posts"], "Ana López", False)


def test_null_and_unknown_members_are_let_pass() -> None:
    nulls = dict.fromkeys(("html", "excerpt", "image", "image_alt", "published_at", "tags", "authors"))
    assert read_payload(PostPublished, post(**nulls, slug="x", reading_time=2)).post.image == ""


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"title": "MISSING"}, "data.post.title"),
        ({"title": None}, "data.post.title"),
        ({"title": ""}, "data.post.title"),
        ({"title": "  "}, "data.post.title"),
        ({"title": 7}, "data.post.title"),
        ({"title": "A\r\nBcc: everybody@example.com"}, "data.post.title"),
        ({"title": "A\nB"}, "data.post.title"),
        ({"title": "A\u2028B"}, "data.post.title"),
        ({"title": "x" * 999}, "data.post.title"),
        ({"id": 7}, "data.post.id"),
        ({"id": "x" * 257}, "data.post.id"),
        ({"url": "MISSING"}, "data.post.url"),
        ({"url": "/relative"}, "data.post.url"),
        ({"url": "javascript:alert(1)"}, "data.post.url"),
        ({"url": "https://"}, "data.post.url"),
        ({"url": "https://[bad"}, "data.post.url"),
        ({"url": "https://a:port/"}, "data.post.url"),
        ({"url": "https://blog.example/a b"}, "data.post.url"),
        ({"url": "https://blog.example/\r\nX: y"}, "data.post.url"),
        ({"html": ["<p>"]}, "data.post.html"),
        ({"image": "data:image/png;base64,AAAA"}, "data.post.image"),
        ({"published_at": "yesterday"}, "data.post.published_at"),
        ({"published_at": 1739109900}, "data.post.published_at"),
        ({"published_at": "2025-02-09T14:05:00"}, "data.post.published_at"),
        ({"tags": "World"}, "data.post.tags"),
        ({"tags": ["World", 7]}, "data.post.tags.1"),
        ({"authors": [{"name": "A"}, {"image": ""}]}, "data.post.authors.1.name"),
        ({"authors": [{"name": "A", "url": "ftp://x"}]}, "data.post.authors.0.url"),
        ({"authors": {}}, "data.post.authors"),
    ],
)
def test_a_wrong_post_is_refused_by_name(change: dict[str, object], field: str) -> None:
    assert refused(PostPublished, post(**change)) == [field]


@pytest.mark.parametrize(
    ("title", "name"), [("A\r\nB", "CR, LF"), ("A\nB", "CR, LF"), ("A\u2028B", "U+2028"), ("A\x85B", "U+0085")]
)
def test_a_line_end_is_named_as_it_can_be_searched_for(title: str, name: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_payload(PostPublished, post(title=title))
    assert str(caught.value) == f"data.post.title: must be one line; take the line end ({name}) out"


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"subscriber": {"email": "a@b.example"}}, "data.publication"),
        ({"publication": "daily"}, "data.subscriber"),
        ({"publication": "daily", "subscriber": "ana@example.com"}, "data.subscriber"),
        (subscriber({"email": None}), "data.subscriber.email"),
        (subscriber({"email": 7}), "data.subscriber.email"),
        (subscriber({"email": ["a@b.example"]}), "data.subscriber.email"),
        (subscriber({"email": "ana@example.com\nBcc: x@y.example"}), "data.subscriber.email"),
        (subscriber({"email": "a" * 1001}), "data.subscriber.email"),
        (subscriber({"name": 7}), "data.subscriber.name"),
        (subscriber({"name": "Ana\r\nBcc: x"}), "data.subscriber.name"),
        (subscriber({"locale": "../../etc"}), "data.subscriber.locale"),
        (subscriber({"labels": [""]}), "data.subscriber.labels.0"),
        (subscriber({"labels": ["x" * 129]}), "data.subscriber.labels.0"),
        (subscriber(lists="posts"), "data.lists"),
        (subscriber(lists=[]), "data.lists"),
        (subscriber(lists=["posts", 7]), "data.lists.1"),
        (subscriber(confirmed="true"), "data.confirmed"),
        (subscriber(confirmed=1), "data.confirmed"),
        (subscriber(consent="yes"), "data.consent"),
        (subscriber(consent={"ip": "localhost"}), "data.consent.ip"),
        (subscriber(consent={"at": "noon"}), "data.consent.at"),
    ],
)
def test_a_wrong_sign_up_is_refused_by_name(data: dict[str, Any], field: str) -> None:
    assert refused(SubscriberCreated, data) == [field]


def test_all_that_is_wrong_is_named_at_once() -> None:
    assert refused(PostPublished, post(title=None, url=7)) == ["data.post.title", "data.post.url"]


def test_a_text_that_is_too_long_is_told_its_characters() -> None:
    with pytest.raises(InvalidInput, match=r"data\.post\.title: is too long; 998 characters at most"):
        read_payload(PostPublished, post(title="x" * 999))


def test_a_thousand_mistakes_are_not_all_told() -> None:
    assert len(refused(PostPublished, post(tags=[1] * 100))) == 10


def test_messages_do_not_repeat_what_was_sent() -> None:
    with pytest.raises(InvalidInput) as error:
        read_payload(SubscriberCreated, subscriber({"locale": "ana.lopez@example.com"}))
    assert "ana.lopez" not in str(error.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(["id", "title", "url", "email", "authors", "tags", "name", "at", "published_at"]), inner
    ),
    max_leaves=10,
)  # fmt: skip


@hostile
@given(
    st.sampled_from(MODELS),
    st.dictionaries(st.sampled_from(["publication", "post", "subscriber", "consent", "lists", "labels"]), json_values),
)
def test_hostile_data_is_read_or_refused_by_name(model: Any, data: dict[str, Any]) -> None:
    try:
        read_payload(model, data)
    except InvalidInput as error:
        assert all(one.field.startswith("data") and one.message for one in error.problems)  # noqa: PT017
