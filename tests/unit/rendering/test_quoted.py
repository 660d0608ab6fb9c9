"""Quoted-printable pieces and values: whatever is dropped between them, the whole decodes to the whole."""

from __future__ import annotations

import quopri

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.rendering.quoted import encode_piece, encode_value

_text = st.text(st.sampled_from(list("a.= \t\né—😀")), max_size=200)
_value = st.text(st.sampled_from(list("a.= é😀")), max_size=200)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(_text, _value), max_size=4), _text)
def test_pieces_and_values_decode_to_what_they_were(pairs: list[tuple[str, str]], last: str) -> None:
    encoded = b"".join(encode_piece(piece, more=True) + encode_value(value) for piece, value in pairs)
    encoded += encode_piece(last, more=False)
    lines = encoded.split(b"\r\n")
    assert all(len(line) <= 76 for line in lines)
    assert not any(line.startswith(b".") for line in lines)
    assert not any(line.endswith((b" ", b"\t")) for line in lines)
    whole = "".join(piece + value for piece, value in pairs) + last
    assert quopri.decodestring(encoded).replace(b"\r\n", b"\n").decode() == whole


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        ("", b""),
        ("Ada", b"Ada=\r\n"),
        (".", b"=2E=\r\n"),
        ("a=b", b"a=3Db=\r\n"),
        ("é", b"=C3=A9=\r\n"),
        ("a" * 76, b"a" * 75 + b"=\r\na=\r\n"),
        ("a" * 75 + ".", b"a" * 75 + b"=\r\n=2E=\r\n"),
    ],
)
def test_a_value_starts_and_ends_its_own_lines(value: str, encoded: bytes) -> None:
    assert encode_value(value) == encoded
