"""A short hunt through every parser; `make fuzz` goes on for as long as it is told."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.security.fuzz import inputs
from tests.security.parsers import PARSERS, read

# What was found once, so that it is tried each time.
FOUND: list[tuple[str, bytes]] = [
    ("csv_file", b"email,consent_at\na@b.example,0001-01-01T00:00:00+14:00\n"),
    ("csv_file", b"email,consent_ip\na@b.example,fe80::1%" + b"x" * 50 + b"\n"),
    ("post_html", b"<td>\r"),
    ("post_html", b"<b ><svg><p>"),
    ("post_html", b"<b ><iframe src=x>"),
    ("forwarded_for", b"fe80::1%" + b"x" * 50),
    ("structured_event", b'{"specversion":"1.0","id":"1","source":"x","type":"y","time":"9999-12-31T23:59:59-10:00"}'),
]


@pytest.mark.parametrize("name", PARSERS)
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_no_bytes_make_a_parser_fail(name: str, data: st.DataObject) -> None:
    read(name, data.draw(inputs(name)))


@pytest.mark.parametrize(("name", "data"), FOUND)
def test_what_was_found_stays_mended(name: str, data: bytes) -> None:
    read(name, data)
