"""What commands print: lines for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime

import click


def say(line: str = "") -> None:
    click.echo(line)


def warn(line: str) -> None:
    click.echo(line, err=True)


def say_json(value: object) -> None:
    """One JSON document; times as ISO 8601 in UTC."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2, default=_plain))


def _plain(value: object) -> str:
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else str(value)


def table(rows: Iterable[Sequence[object]], header: Sequence[str]) -> None:
    """Left-aligned columns as wide as their longest cell; the last one may run on."""
    cells = [list(header), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    for number, row in enumerate(cells):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        click.echo(click.style(line, dim=True) if number == 0 else line)


def _cell(value: object) -> str:
    return "" if value is None else str(value)


def counts(words: Mapping[str, int]) -> str:
    """`sent 980, deferred 20`; nothing for an empty one."""
    return ", ".join(f"{word} {number:,}" for word, number in words.items() if number)


def number(n: int, noun: str) -> str:
    """`1 row`, `2 rows`."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def choice(names: Collection[str]) -> str:
    """What there is instead of what was asked for: `there is only: daily`, `there are: daily, weekly`."""
    return f"{'there is only' if len(names) == 1 else 'there are'}: {', '.join(names)}"


def without_secrets(text: str) -> str:
    """An error may quote a URL with a password in it."""
    from worker.redaction import redact

    return redact(text)
