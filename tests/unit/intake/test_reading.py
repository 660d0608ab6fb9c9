"""Events out of files: one, or one in each line."""

from __future__ import annotations

import io
import json

import pytest

from tests.unit.intake.making import SAMPLES, sample
from worker.domain.errors import InvalidInput
from worker.domain.events import Event
from worker.intake.reading import read_events

LIMIT = 1_048_576
EVENT = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": {}}


def read(raw: bytes, limit: int = LIMIT) -> list[tuple[str, str]]:
    """(where, id or the field that is wrong)"""
    return [
        (where, found.id if isinstance(found, Event) else found.problems[0].field)
        for where, found in read_events(io.BytesIO(raw), "f", limit)
    ]


def line(**change: object) -> bytes:
    return json.dumps(EVENT | change).encode() + b"\n"


def test_a_sample_is_one_event() -> None:
    with (SAMPLES / "post-published.json").open("rb") as stream:
        ((where, found),) = read_events(stream, "post-published.json", LIMIT)
    assert where == "post-published.json"
    assert isinstance(found, Event)
    assert found.id == sample("post-published")["id"]


@pytest.mark.parametrize("head", [b"", b"\xef\xbb\xbf", b"\n \n"])
def test_a_laid_out_event(head: bytes) -> None:
    assert read(head + json.dumps(EVENT, indent=1).encode()) == [("f", "1")]


def test_lines() -> None:
    raw = b"\n" + line() + b"  \n" + line(id="2") + b"not json\n" + line(id=7) + line(id="3").rstrip()
    assert read(raw) == [("f:2", "1"), ("f:4", "2"), ("f:5", "body"), ("f:6", "id"), ("f:7", "3")]


@pytest.mark.parametrize("raw", [b"", b"\n\n", b"not json", b"[]", b"\xff\xfe", b"{", b'{"id": 1'])
def test_what_is_no_event_is_told(raw: bytes) -> None:
    ((_, field),) = read(raw)
    assert field == "body"


def test_an_event_that_is_too_large_is_skipped_and_the_next_is_read() -> None:
    raw = line() + line(id="2", data={"x": "y" * 1000}) + line(id="3")
    assert read(raw, 500) == [("f:1", "1"), ("f:2", "body"), ("f:3", "3")]


def test_a_laid_out_event_that_is_too_large_says_the_limit() -> None:
    raw = json.dumps(EVENT | {"data": {"x": "y" * 1000}}, indent=1).encode()
    ((_, found),) = read_events(io.BytesIO(raw), "f", 500)
    assert isinstance(found, InvalidInput)
    assert str(found) == "body: is larger than 500 bytes, the limit here (PRESSRUN_MAX_EVENT_BYTES)"
