"""Figures go where they belong, and what people wrote stays."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.machine import in_a_line, memory_gb, processor, said_version, servers
from benchmarks.report import Options, Result

_MACHINE: dict[str, object] = dict.fromkeys(
    ("cores", "processor", "memory_gb", "kernel", "load", "python", "sqlite", "celery", "sqlalchemy", "psycopg",
     "uvloop", "date", "commit"), "x",
) | {"servers": {"PostgreSQL": "15.18", "postfix": "3.7.11"}}  # fmt: skip


def test_a_table_is_markdown_and_bars_stay_in_their_cell() -> None:
    assert report.table(("a", "b"), [(1, "x|y")]) == "| a | b |\n| --- | --- |\n| 1 | x\\|y |"


def test_a_new_block_comes_at_the_end_and_the_next_one_takes_its_place() -> None:
    first = report.with_block("# Page\n\nWords.\n", "limit", "old\n")
    assert first == "# Page\n\nWords.\n\n### limit\n\n<!-- bench:limit -->\nold\n<!-- /bench:limit -->\n"
    written = first.replace("### limit", "## The limit\n\nBefore.") + "\nBehind.\n"
    assert report.with_block(written, "limit", "new\n") == written.replace("old", "new")


def test_other_blocks_are_left_alone() -> None:
    page = report.with_block(report.with_block("# Page\n", "a", "1\n"), "ab", "2\n")
    again = report.with_block(page, "a", "3\n")
    assert "2\n<!-- /bench:ab -->" in again
    assert "3\n<!-- /bench:a -->" in again


def test_a_block_without_an_end_is_not_written_over() -> None:
    with pytest.raises(ValueError, match="/bench:a"):
        report.with_block("<!-- bench:a -->\nWords that would be lost.\n", "a", "1\n")


def test_figures_are_kept_as_json_and_on_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "FIGURES", tmp_path / "bench")
    page = tmp_path / "page.md"
    page.write_text("# Page\n")
    report.keep("limit", Result(("a",), [(1,)], {"a": 1}, ["Note."]), _MACHINE, "python -m benchmarks", page=page)
    kept = json.loads((tmp_path / "bench" / "limit.json").read_text())
    assert (kept["figures"], kept["command"]) == ({"a": 1}, "python -m benchmarks")
    assert "| 1 |\n\nNote.\n\n`python -m benchmarks` on x cores" in page.read_text()


def test_a_quick_run_is_a_tenth_and_a_size_that_was_asked_for_holds() -> None:
    assert Options().size(1000) == 1000
    assert Options(quick=True).size(10_000) == 1000
    assert Options(readers=7, quick=True).size(1000) == 7


def test_the_machine_is_read_from_its_own_words() -> None:
    assert processor("processor\t: 0\nmodel name\t: A Fine CPU @ 3 GHz\n") == "A Fine CPU @ 3 GHz"
    assert processor("") == "unknown"
    assert memory_gb("MemTotal:       16777216 kB\n") == 16.0


def test_servers_are_named_with_their_versions() -> None:
    assert in_a_line(_MACHINE) == (
        "x cores (x), x GB, Linux x, load before x; Python x, SQLite x, Celery x, SQLAlchemy x, psycopg x, uvloop x, "
        "PostgreSQL 15.18, postfix 3.7.11; x, commit x"
    )
    assert said_version("echo", "postgres (PostgreSQL) 15.18 (Debian 1.2)") == "15.18"
    assert said_version("echo", "nothing") == ""
    found = servers()
    assert int(found["PostgreSQL"].partition(".")[0]) >= 16
    assert {"redis-server", "valkey-server"} & set(found)
