"""Lines out of a pipe, however they are cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from worker.cli.lines import Lines


@given(st.lists(st.text("ab\né", max_size=5), max_size=20))
def test_pieces_of_any_size_make_the_same_lines(pieces: list[str]) -> None:
    heard: list[str] = []
    lines = Lines(heard.append)
    whole = "".join(pieces).encode()
    for piece in pieces:
        raw = piece.encode()
        lines.data_received(raw[:1])
        lines.data_received(raw[1:])
    lines.connection_lost(None)
    expected = whole.decode().split("\n")
    assert heard == (expected if expected[-1] else expected[:-1])


def test_a_line_without_end_does_not_fill_the_memory() -> None:
    heard: list[str] = []
    lines = Lines(heard.append)
    for _ in range(100):
        lines.data_received(b"x" * 10_000)
    assert sum(map(len, heard)) > 900_000
