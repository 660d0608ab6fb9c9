"""A CSV of readers, line by line: `email`, `name` and whatever else, of which labels are made (RFC 4180, UTF-8)."""

from __future__ import annotations

import csv
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import BinaryIO

from worker.audience.addresses import Address, parse_address
from worker.domain.errors import InvalidInput
from worker.domain.network import read_ip

# Longer lines are no readers: a file with the line ends of old Macs is one single line.
_MAX_LINE = 1_048_576
_MAX_NAME = 512
_MAX_LOCALE = 35
_MAX_LABEL = 128
# What the reader says of a file that ends within quotes.
_OPEN_QUOTE = "unexpected end of data"
_BOM = b"\xef\xbb\xbf"

_YES = frozenset({"1", "true", "yes", "x"})
_NO = frozenset({"0", "false", "no"})


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that was skipped, and why. `line` counts from 1, the header included."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class ReaderRow:
    """One reader of the file. The consent's members are empty where no column gives them."""

    line: int
    address: Address
    name: str
    locale: str
    labels: tuple[str, ...]
    consent_at: datetime | None
    consent_ip: str
    consent_evidence: str


def read_rows(stream: BinaryIO) -> Iterator[ReaderRow | BadRow]:
    """Every row after the header, good or bad, in the memory of one row.

    Columns: `email` (needed), `name`, `locale`, `consent_at` (RFC 3339), `consent_ip`, `consent_evidence`, `labels`
    (separated by `;`). Any other column is a label: 1, true, yes or x sets it, nothing, 0, false or no does not, and
    any other value makes `column:value`. Raises `InvalidInput` naming the line where the file as a whole is wrong, or
    the rest of it is in an open quote; what cannot be decoded is found before the first row where the stream can seek.
    """
    if stream.seekable():
        start = stream.tell()
        for _ in _decoded(stream):
            pass
        stream.seek(start)
    lines = csv.reader(_decoded(stream), strict=True)
    columns = _Columns(_header(lines))
    while True:
        line = lines.line_num + 1
        try:
            fields = next(lines)
        except StopIteration:
            return
        except csv.Error as error:
            if str(error) == _OPEN_QUOTE:
                raise InvalidInput.of(
                    f"line {line}", f"a quote is opened and never closed: nothing from here on was read"
                    f"{_lines(line, lines.line_num)}; close it and run the import again"
                ) from None  # fmt: skip
            yield BadRow(line, f"{error}{_lines(line, lines.line_num)}")
            continue
        if not fields:
            continue
        try:
            yield columns.read(line, fields)
        except InvalidInput as error:
            yield BadRow(line, f"{error}{_lines(line, lines.line_num)}")


def _decoded(stream: BinaryIO) -> Iterator[str]:
    number = 0
    while line := stream.readline(_MAX_LINE + 1):
        number += 1
        if number == 1:
            line = line.removeprefix(_BOM)
        if len(line) > _MAX_LINE:
            raise InvalidInput.of(f"line {number}", f"is longer than {_MAX_LINE} bytes; lines end with LF or CRLF")
        try:
            yield line.decode("utf-8")
        except UnicodeDecodeError as error:
            byte = line[error.start]
            raise InvalidInput.of(
                f"line {number}", f"is not UTF-8 (byte 0x{byte:02X} at {error.start + 1}); save the file as CSV UTF-8"
            ) from None


def _header(lines: Iterator[list[str]]) -> list[str]:
    try:
        header = [name.strip() for name in next(lines, [])]
    except csv.Error as error:
        raise InvalidInput.of("line 1", f"is no CSV header: {error}") from None
    lowered = [name.lower() for name in header]
    if "email" not in lowered:
        shown = ", ".join(repr(name[:40]) for name in header[:8]) or "nothing"
        raise InvalidInput.of("line 1", f"must name a column `email`, separated by commas; found {shown}")
    twice = next((name for name in lowered if lowered.count(name) > 1), None)
    if twice is not None:
        raise InvalidInput.of("line 1", f"names the column {twice!r} twice")
    return header


class _Columns:
    """Which column says what."""

    def __init__(self, header: Sequence[str]) -> None:
        self._width = len(header)
        places = {name.lower(): place for place, name in enumerate(header)}
        self._email = places.pop("email")
        self._labels = places.pop("labels", None)
        self._name = places.pop("name", None)
        self._locale = places.pop("locale", None)
        consents = [places.pop(name, None) for name in ("consent_at", "consent_ip", "consent_evidence")]
        self._consents = consents if any(place is not None for place in consents) else []
        self._label_columns = [(place, header[place]) for place in sorted(places.values())]
        self._labelled = self._labels is not None or bool(self._label_columns)

    def read(self, line: int, fields: list[str]) -> ReaderRow:
        """Raises `InvalidInput` naming the column."""
        if len(fields) > self._width:
            raise InvalidInput.of("row", f"has {len(fields)} fields, the header {self._width}; is a comma not quoted?")
        fields += [""] * (self._width - len(fields))
        at, ip, evidence = self._consent_of(fields) if self._consents else (None, "", "")
        return ReaderRow(
            line=line,
            address=parse_address(fields[self._email].strip()),
            name="" if self._name is None else _one_line("name", fields[self._name], _MAX_NAME),
            locale="" if self._locale is None else _one_line("locale", fields[self._locale], _MAX_LOCALE),
            labels=self._labels_of(fields) if self._labelled else (),
            consent_at=at,
            consent_ip=ip,
            consent_evidence=evidence,
        )

    def _consent_of(self, fields: list[str]) -> tuple[datetime | None, str, str]:
        at, ip, evidence = (_at(fields, place) for place in self._consents)
        return _time(at), _ip(ip), _one_line("consent_evidence", evidence, _MAX_LINE)

    def _labels_of(self, fields: list[str]) -> tuple[str, ...]:
        found = [] if self._labels is None else [one.strip() for one in fields[self._labels].split(";")]
        for place, column in self._label_columns:
            value = fields[place].strip()
            if value and (lowered := value.lower()) not in _NO:
                found.append(column if lowered in _YES else f"{column}:{value}")
        if not found:
            return ()
        return tuple(dict.fromkeys(_one_line("label", one, _MAX_LABEL) for one in found if one))


def _at(fields: list[str], place: int | None) -> str:
    return "" if place is None else fields[place]


def _one_line(column: str, value: str, longest: int) -> str:
    value = value.strip()
    if not value:
        return value
    if not value.isprintable() and any(unicodedata.category(one) in ("Cc", "Zl", "Zp") for one in value):
        raise InvalidInput.of(column, "holds a line end, NUL or another control character; is a quote left open?")
    if len(value) > longest:
        raise InvalidInput.of(column, f"is too long; {longest} characters at most")
    return value


def _time(value: str) -> datetime | None:
    if not value.strip():
        return None
    try:
        found = datetime.fromisoformat(value.strip())
        if found.tzinfo is not None:
            return found.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise InvalidInput.of("consent_at", "must be a time with its zone, such as 2025-02-09T14:05:00Z")


def _ip(value: str) -> str:
    found = read_ip(value.strip())
    if found is None and value.strip():
        raise InvalidInput.of("consent_ip", "must be an IPv4 or IPv6 address")
    return "" if found is None else str(found)


def _lines(first: int, last: int) -> str:
    return f" (lines {first} to {last})" if last > first else ""
