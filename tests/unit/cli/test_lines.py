"""Lines out of a pipe, however they are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.cli.lines import Lines, worth_a_line


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


@pytest.mark.parametrize(
    ("line", "worth"),
    [
        ("", False),
        ("  ", False),
        ("1:M 24 Nov 2026 00:02:48.883 # WARNING Memory overcommit must be enabled! Without it, …", False),
        ("1:M 24 Nov 2026 00:03:04.717 # Valkey is now ready to exit, bye bye...", False),
        ("1:M 24 Nov 2026 00:03:04.717 # MISCONF Errors writing to the AOF file: No space left on device", True),
        ("bulk@vm ready.", True),
    ],
)
def test_idle_talk_is_known(line: str, worth: bool) -> None:
    assert worth_a_line(line) is worth
