"""Where figures go: JSON into `var/bench/`, and a block for each part into `docs/benchmarks.md`.

A block stands between `<!-- bench:PART -->` and `<!-- /bench:PART -->`. What people wrote around it stays; a block
that is not there yet comes at the end.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.machine import in_a_line
from tests.servers import REPOSITORY

FIGURES = REPOSITORY / "var" / "bench"
PAGE = REPOSITORY / "docs" / "benchmarks.md"


class Unavailable(Exception):
    """A part cannot run on this machine; the message says why, in one line."""


@dataclass(frozen=True)
class Options:
    """What was asked for; `readers` None: the part's own size."""

    readers: int | None = None
    quick: bool = False
    databases: tuple[str, ...] = ("sqlite", "postgresql")

    def size(self, usual: int) -> int:
        """Readers for a part whose usual size this is; a tenth where it has to be quick."""
        return self.readers or (max(100, usual // 10) if self.quick else usual)


@dataclass(frozen=True)
class Result:
    """`data` for machines; header and rows for people."""

    header: Sequence[str]
    rows: Sequence[Sequence[object]]
    data: object
    notes: Sequence[str] = field(default=())


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Markdown; `|` in a cell is escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def block(result: Result, machine: dict[str, object], command: str) -> str:
    """What stands between the markers of a part."""
    notes = "".join(f"\n{note}\n" for note in result.notes)
    return f"{table(result.header, result.rows)}\n{notes}\n`{command}` on {in_a_line(machine)}.\n"


def with_block(page: str, part: str, text: str) -> str:
    """The page with this part's block replaced, or added at its end under a heading of its own."""
    begin, end = f"<!-- bench:{part} -->\n", f"<!-- /bench:{part} -->\n"
    head, found, rest = page.partition(begin)
    if not found:
        return f"{page.rstrip()}\n\n### {part}\n\n{begin}{text}{end}"
    _, closed, tail = rest.partition(end)
    if not closed:
        raise ValueError(f"{PAGE.name}: {begin.strip()} has no {end.strip()}")
    return head + begin + text + end + tail


def keep(part: str, result: Result, machine: dict[str, object], command: str, *, page: Path | None = PAGE) -> None:
    """Write the JSON, and the block where there is a page for it."""
    FIGURES.mkdir(parents=True, exist_ok=True)
    figures: Mapping[str, object] = {"machine": machine, "command": command, "figures": result.data}
    (FIGURES / f"{part}.json").write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    if page is not None:
        page.write_text(with_block(page.read_text("utf-8"), part, block(result, machine, command)), "utf-8")
