"""CloudEvents 1.0 over HTTP. Cases follow `http-protocol-binding.md`, `json-format.md` and the conformance suite."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.intake.making import SAMPLES, hostile, sample
from worker.domain.errors import InvalidInput
from worker.domain.events import Event
from worker.intake.cloudevents import UnsupportedMedia, parse_event
from worker.intake.jsontext import canonical

STRUCTURED = [("Content-Type", "application/cloudevents+json")]
MINIMAL = {"specversion": "1.0", "id": "minimal", "type": "io.cloudevents.test", "source": "https://cloudevents.io"}
BINARY = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-type", "t"), ("ce-source", "/s")]


def structured(value: object) -> Event:
    return parse_event(STRUCTURED, json.dumps(value).encode())


def fields(error: pytest.ExceptionInfo[InvalidInput]) -> list[str]:
    return [one.field for one in error.value.problems]


@pytest.mark.parametrize("name", ["post-published", "subscriber-created"])
def test_the_samples_are_read(name: str) -> None:
    event = parse_event(STRUCTURED, (SAMPLES / f"{name}.json").read_bytes())
    given = sample(name)
    assert (event.id, event.source, event.type, event.data) == (
        given["id"], given["source"], given["type"], given["data"],
    )  # fmt: skip
    assert event.time is not None
    assert event.time.isoformat() == given["time"].replace("Z", "+00:00")


def test_both_modes_make_the_same_event() -> None:
    given = sample("post-published")
    headers = [(f"CE-{name.title()}", str(given[name])) for name in ("specversion", "id", "source", "type", "time")]
    headers += [("ce-subject", given["subject"]), ("content-type", "application/json; charset=UTF-8")]
    assert parse_event(headers, json.dumps(given["data"]).encode()) == structured(given)


@pytest.mark.parametrize(
    "content_type",
    ["application/cloudevents+json", "APPLICATION/CloudEvents+JSON", 'application/cloudevents+json; charset="utf-8"',
     "application/cloudevents+json;charset=UTF-8"],
)  # fmt: skip
def test_media_types_are_compared_without_case(content_type: str) -> None:
    assert parse_event([("content-type", content_type)], json.dumps(MINIMAL).encode()).id == "minimal"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ('"quoted"', "quoted"),
        (r'"a \"b\" \\ c"', r'a "b" \ c'),
        ('"Euro%20%E2%82%AC"', "Euro €"),
        # once, and only once
        ("%2520", "%20"),
        ("100%25", "100%"),
        ("plain", "plain"),
    ],
)
def test_header_values_are_unquoted_then_percent_decoded_once(header: str, expected: str) -> None:
    assert parse_event([*BINARY, ("ce-subject", header)], b"").subject == expected


@pytest.mark.parametrize(
    "header", ["%C0%A0", "%FF", "%E2%82", "%ED%A0%80", "%", "%Z1", "caf\xe9", '"open', '"a" b', "%00"]
)
def test_header_values_that_do_not_decode_are_refused(header: str) -> None:
    with pytest.raises(InvalidInput) as error:
        parse_event([*BINARY, ("ce-subject", header)], b"")
    assert fields(error) == ["subject"]


def test_null_means_unset() -> None:
    nulls = dict.fromkeys(("datacontenttype", "dataschema", "subject", "time", "data", "data_base64", "trace"))
    assert structured(MINIMAL | nulls) == structured(MINIMAL)


@pytest.mark.parametrize("name", ["specversion", "id", "source", "type"])
@pytest.mark.parametrize("bad", ["missing", "null", "empty", "number", "object"])
def test_what_is_required_must_be_a_filled_string(name: str, bad: str) -> None:
    value: dict[str, Any] = dict(MINIMAL)
    value[name] = {"null": None, "empty": "", "number": 25, "object": {"a": 1}}.get(bad)
    if bad == "missing":
        del value[name]
    with pytest.raises(InvalidInput) as error:
        structured(value)
    assert fields(error) == [name]


@pytest.mark.parametrize("missing", ["specversion", "id", "source", "type"])
def test_a_missing_header_is_named(missing: str) -> None:
    with pytest.raises(InvalidInput) as error:
        parse_event([one for one in BINARY if one[0] != f"ce-{missing}"], b"")
    assert fields(error) == [missing]


@pytest.mark.parametrize("version", ["0.3", "1.1", "1", "1.0 "])
def test_other_versions_are_refused(version: str) -> None:
    with pytest.raises(InvalidInput) as error:
        structured(MINIMAL | {"specversion": version})
    assert fields(error) == ["specversion"]


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("2018-04-05T17:31:00Z", datetime(2018, 4, 5, 17, 31, tzinfo=UTC)),
        ("2018-04-05t17:31:00z", datetime(2018, 4, 5, 17, 31, tzinfo=UTC)),
        ("2018-04-05T17:31:00.000000000Z", datetime(2018, 4, 5, 17, 31, tzinfo=UTC)),
        ("2018-04-05T18:31:00+01:00", datetime(2018, 4, 5, 17, 31, tzinfo=UTC)),
        ("2018-04-05T16:31:00-01:00", datetime(2018, 4, 5, 17, 31, tzinfo=UTC)),
    ],
)
def test_times(time: str, expected: datetime) -> None:
    assert structured(MINIMAL | {"time": time}).time == expected


@pytest.mark.parametrize(
    "time",
    ["lunchtime", "2018-04-05T18:31Z", "2018-04-05T18:31:00X", "2018-04-05T18:31:00+25:00", "2018-04-05T18:31:00+xx:00",
     "2018-04-05T18:31:00+05", "2018-04-05", "2018-02-30T00:00:00Z", "0001-01-01T00:00:00+14:00", "2018-04-05T18:31:00",
     "٢٠١٨-04-05T18:31:00Z", "2018-W14-4T18:31:00Z", "2018-04-05T18:31:00Z\n"],
)  # fmt: skip
def test_times_that_are_none(time: str) -> None:
    with pytest.raises(InvalidInput) as error:
        structured(MINIMAL | {"time": time})
    assert fields(error) == ["time"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"datacontenttype": "xyz"}, "datacontenttype"),
        ({"datacontenttype": ""}, "datacontenttype"),
        ({"dataschema": ""}, "dataschema"),
        ({"subject": ""}, "subject"),
        ({"MyExtension": "bad"}, "MyExtension"),
        ({"my.extension": "bad"}, "my.extension"),
        ({"extension": 1.5}, "extension"),
        ({"extension": ["a"]}, "extension"),
        ({"data": "text", "data_base64": "e30="}, "data_base64"),
        ({"data_base64": "e30"}, "data_base64"),
        ({"data_base64": 7}, "data_base64"),
        ({"data_base64": "e30=", "datacontenttype": "image/png"}, "datacontenttype"),
        ({"data_base64": base64.b64encode(b"{").decode()}, "data"),
        ({"data_base64": base64.b64encode(b'{"a": "\\u0000"}').decode()}, "data.a"),
        ({"data": "text"}, "data"),
        ({"data": [1]}, "data"),
        ({"data": False}, "data"),
        ({"source": "not a uri"}, "source"),
        ({"id": "x" * 257}, "id"),
        ({"source": "/" + "x" * 512}, "source"),
        ({"type": "x" * 257}, "type"),
        ({"id": "a\nb"}, "id"),
        ({"id": "a\u0085b"}, "id"),
        ({"id": "a\0b"}, "id"),
        ({"type": "\ud800"}, "type"),
        ({"data": {"post": {"title": "a\0b"}}}, "data.post.title"),
        ({"data": {"post": {"title": "\udfff"}}}, "data.post.title"),
        ({"data": {"tags": ["a", "b\0"]}}, "data.tags.1"),
        ({"data": {"x\0": 1}}, "data.x\\x00"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(change: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as error:
        structured(MINIMAL | change)
    assert fields(error) == [field]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff", b"\xef\xbb\xbf{}", b"[]", b'"text"', b"null", b'{"a": NaN}', b'{"a": Infinity}',
     b"[" * 100_000, b'{"a": ' * 5_000 + b"1" + b"}" * 5_000, b'{"a": ' + b"1" * 5_000 + b"}",
     json.dumps(MINIMAL).encode("utf-16")],
)  # fmt: skip
def test_a_body_that_is_no_event(body: bytes) -> None:
    with pytest.raises(InvalidInput) as error:
        parse_event(STRUCTURED, body)
    assert fields(error) == ["body"]


def test_an_endless_number_is_told_in_words_for_publishers() -> None:
    with pytest.raises(InvalidInput, match="body: holds a number of thousands of digits"):
        parse_event(STRUCTURED, b'{"a": ' + b"1" * 5_000 + b"}")


def test_a_number_beyond_all_bounds_is_refused() -> None:
    with pytest.raises(InvalidInput) as error:
        parse_event(STRUCTURED, json.dumps(MINIMAL)[:-1].encode() + b', "data": {"n": 1e999}}')
    assert fields(error) == ["data.n"]


def test_depth_is_bounded() -> None:
    deep: dict[str, Any] = {}
    for _ in range(100):
        deep = {"a": deep}
    with pytest.raises(InvalidInput, match="levels deep"):
        structured(MINIMAL | {"data": deep})


def test_data_in_base64() -> None:
    encoded = base64.b64encode('{"a": "€"}'.encode()).decode()
    assert structured(MINIMAL | {"data_base64": encoded}).data == {"a": "€"}


def test_extensions_are_let_pass() -> None:
    extensions = {"extinteger": 10, "extboolean": True, "exturi": "https://cloudevents.io", "extbinary": "TWE="}
    assert structured(MINIMAL | extensions) == structured(MINIMAL)


def test_a_relative_source_is_one() -> None:
    assert structured(MINIMAL | {"source": "#fragment"}).source == "#fragment"


@pytest.mark.parametrize(
    "content_type",
    ["application/cloudevents-batch+json", "APPLICATION/CLOUDEVENTS-BATCH+JSON", "application/cloudevents+avro",
     "application/cloudevents+json; charset=latin-1"],
)  # fmt: skip
def test_other_formats_are_not_taken(content_type: str) -> None:
    with pytest.raises(UnsupportedMedia) as error:
        parse_event([("Content-Type", content_type)], b"[]")
    assert fields(error) == ["content-type"]


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "", "image/png"])
def test_data_that_is_not_json_is_not_taken(content_type: str) -> None:
    with pytest.raises(UnsupportedMedia):
        parse_event([*BINARY, ("content-type", content_type)], b"{}")


def test_datacontenttype_in_a_header_says_nothing() -> None:
    headers = [*BINARY, ("content-type", "application/json"), ("ce-datacontenttype", "image/png")]
    assert parse_event(headers, b'{"a": 1}').data == {"a": 1}
    with pytest.raises(UnsupportedMedia):
        parse_event([*BINARY, ("content-type", "image/png"), ("ce-datacontenttype", "application/json")], b"{}")


def test_a_whole_event_as_plain_json_is_taken() -> None:
    assert parse_event([("content-type", "application/json")], json.dumps(MINIMAL).encode()).id == MINIMAL["id"]


def test_plain_json_that_is_no_event_is_told_what_is_missing() -> None:
    with pytest.raises(InvalidInput) as error:
        parse_event([("content-type", "application/json")], b'{"title": "a post"}')
    assert fields(error) == ["specversion"]


@pytest.mark.parametrize("name", ["ce-id", "CE-ID"])
def test_an_attribute_given_twice_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="twice") as error:
        parse_event([*BINARY, (name, "2")], b"")
    assert fields(error) == ["id"]


@pytest.mark.parametrize("name", ["ce-data", "ce-", "ce-a_b"])
def test_headers_that_name_no_attribute_are_refused(name: str) -> None:
    with pytest.raises(InvalidInput):
        parse_event([*BINARY, (name, "x")], b"")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text(st.characters(), max_size=12), inner, max_size=4),
    max_leaves=12,
)
attribute_names = st.sampled_from([*MINIMAL, "time", "subject", "datacontenttype", "data", "data_base64", "x"])


@hostile
@given(st.dictionaries(attribute_names, json_values), st.booleans())
def test_hostile_events_are_read_or_refused_by_name(value: dict[str, Any], complete: bool) -> None:
    body = json.dumps(MINIMAL | value if complete else value).encode()
    try:
        event = parse_event(STRUCTURED, body)
    except InvalidInput as error:
        assert all(one.field and one.message for one in error.problems)  # noqa: PT017
        str(error).encode("utf-8")
    else:
        canonical({"id": event.id, "data": event.data})


@hostile
@given(st.binary(max_size=200), st.sampled_from(["application/cloudevents+json", "application/json", "x", ""]))
def test_hostile_bytes_are_refused(body: bytes, content_type: str) -> None:
    with pytest.raises(InvalidInput):
        parse_event([("content-type", content_type)], body)


@hostile
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["ce-id", "ce-source", "ce-type", "ce-subject", "ce-time", "ce-specversion", "ce-X", "x"]),
            st.text(st.characters(max_codepoint=255), max_size=30),
        ),
        max_size=8,
    )
)
def test_hostile_headers_are_read_or_refused(headers: list[tuple[str, str]]) -> None:
    try:
        parse_event(headers, b"")
    except InvalidInput as error:
        assert all(one.field for one in error.problems)  # noqa: PT017
