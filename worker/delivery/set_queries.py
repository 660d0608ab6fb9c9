"""The SQL that every mail passes, written by hand for both databases: one statement for a whole set.

Building a statement for each row costs more than running it, and so does letting go of the interpreter's lock for
each: while a set is written, the conversations of the process want it back. SQLite's driver lets go of it for every
row that it reads, with the database's lock held: beside a busy thread 250 rows took a hundred times as long as in one
value. So there a set comes as one row, as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, CursorResult

from worker.domain.campaign import GOING
from worker.storage.models import HELD
from worker.storage.moments import as_stored, from_stored

_GOING = ", ".join(f"'{one}'" for one in sorted(GOING))

_ROW = (
    "d.id", "d.publication", "d.kind", "d.campaign_id", "d.slice_id", "d.subscription_id", "d.subscriber_id",
    "d.address", "d.created_at", "d.attempts", "d.first_attempt_at", "d.expires_at", "d.claims", "s.name", "s.locale",
    "s.erased_at", "u.status", "u.generation", "u.list_slug",
    "EXISTS (SELECT 1 FROM suppressions x WHERE x.address = s.address AND x.publication IN (d.publication, '*'))",
    "COALESCE(s.email, '') <> d.address",
)  # fmt: skip
# FOR UPDATE SKIP LOCKED, on PostgreSQL: what another worker is just taking is skipped, not waited for.
_QUEUED = f"""
FROM deliveries d
LEFT JOIN subscribers s ON s.id = d.subscriber_id
LEFT JOIN subscriptions u ON u.id = d.subscription_id
WHERE d.campaign_id = ? AND d.destination = ? AND d.status = 'queued'
    AND EXISTS (SELECT 1 FROM campaigns c WHERE c.id = ? AND c.status IN ({_GOING})) AND NOT {HELD}
ORDER BY d.id LIMIT ?"""  # noqa: S608 - words of our own
_QUEUED_POSTGRESQL = f"SELECT {', '.join(_ROW)}{_QUEUED} FOR UPDATE OF d SKIP LOCKED".replace("?", "%s")
_ROW_SQLITE = ", ".join(f"{one} AS c{number}" for number, one in enumerate(_ROW))
_ONE_VALUE = f"json_group_array(json_array({', '.join(f'c{number}' for number in range(len(_ROW)))}))"
_QUEUED_SQLITE = f"SELECT {_ONE_VALUE} FROM (SELECT {_ROW_SQLITE}{_QUEUED})"  # noqa: S608 - words of our own

_TAKE = "UPDATE deliveries SET status = 'sending', reason = '', lease_id = ?, claims = claims + 1 WHERE id"
_TAKE_SQLITE = f"{_TAKE} IN (SELECT value FROM json_each(?))"  # noqa: S608 - words of our own
_TAKE_POSTGRESQL = f"{_TAKE} = ANY(?::bigint[])".replace("?", "%s")

_COLUMNS = (
    ("id", "bigint"), ("lease_id", "bigint"), ("status", "text"), ("reason", "text"), ("attempts", "integer"),
    ("first_attempt_at", "timestamptz"), ("last_attempt_at", "timestamptz"), ("next_attempt_at", "timestamptz"),
    ("code", "integer"), ("enhanced", "text"), ("reply", "text"),
)  # fmt: skip
_SET = ", ".join(f"{name} = v.{name}" for name, _ in _COLUMNS[2:])
_OUTCOMES = f"UPDATE deliveries SET lease_id = NULL, claims = 0, {_SET} FROM"  # noqa: S608 - words of our own
# The fencing token: a row that was taken over meanwhile is left alone. Not a bare column, or PostgreSQL looks
# each row up among all that its lease holds.
_HELD = "deliveries.id = v.id AND deliveries.lease_id + 0 = v.lease_id"
_ARRAYS = ", ".join(f"%s::{kind}[]" for _, kind in _COLUMNS)
_NAMES = ", ".join(name for name, _ in _COLUMNS)
_OUTCOMES_POSTGRESQL = f"{_OUTCOMES} unnest({_ARRAYS}) AS v({_NAMES}) WHERE {_HELD} RETURNING deliveries.id"
# CROSS JOIN is SQLite's word for this order: each row is looked up by its id.
_STILL_HELD = f"""
SELECT json_group_array(deliveries.id)
FROM (SELECT json_extract(value, '$[0]') AS id, json_extract(value, '$[1]') AS lease_id FROM json_each(?)) v
CROSS JOIN deliveries WHERE {_HELD}"""  # noqa: S608 - words of our own
# Rows of one statement on SQLite: few sizes, so that a statement once read is found again.
_CHUNKS = (250, 64, 16, 4, 1)


class QueuedRow(NamedTuple):
    """One queued delivery with what the checks and the mail need; the names are those of `queries`' parcel."""

    id: int
    publication: str
    kind: str
    campaign_id: int
    slice_id: int
    subscription_id: int | None
    subscriber_id: int | None
    address: str
    created_at: datetime
    attempts: int
    first_attempt_at: datetime | None
    expires_at: datetime | None
    claims: int
    name: str | None
    locale: str | None
    erased_at: datetime | None
    subscription_status: str | None
    generation: int | None
    list_slug: str | None
    suppressed: bool
    elsewhere: bool
    """Written to another address than the reader has, or to nobody's: its own key is looked at, too."""
    shows_campaign_id: None
    destination: str


class OutcomeRow(NamedTuple):
    """What became of one delivery, for the lease that held it."""

    id: int
    lease_id: int
    status: str
    reason: str
    attempts: int
    first_attempt_at: datetime | None
    last_attempt_at: datetime
    next_attempt_at: datetime | None
    code: int | None
    enhanced: str
    reply: str


def queued_of_campaign(connection: Connection, campaign_id: int, destination: str, limit: int) -> list[QueuedRow]:
    """The oldest queued rows of a going campaign for one destination."""
    values = (campaign_id, destination, campaign_id, limit)
    if _is_sqlite(connection):
        rows: Sequence[Sequence[Any]] = _document(connection, _QUEUED_SQLITE, values)
    else:
        rows = _fetched(connection.exec_driver_sql(_QUEUED_POSTGRESQL, values))
    return [_queued(row, destination) for row in rows]


def _queued(row: Sequence[Any], destination: str) -> QueuedRow:
    """With its times read; all but the first are most often not there."""
    made = QueuedRow._make((*row[:8], from_stored(row[8]), *row[9:], None, destination))
    if made.first_attempt_at or made.expires_at or made.erased_at:
        return made._replace(
            first_attempt_at=made.first_attempt_at and from_stored(made.first_attempt_at),
            expires_at=made.expires_at and from_stored(made.expires_at),
            erased_at=made.erased_at and from_stored(made.erased_at),
        )
    return made


def take(connection: Connection, lease_id: int, ids: Sequence[int]) -> None:
    """Put the rows under a lease."""
    if _is_sqlite(connection):
        connection.exec_driver_sql(_TAKE_SQLITE, (lease_id, json.dumps(ids)))
    else:
        connection.exec_driver_sql(_TAKE_POSTGRESQL, (lease_id, _array(ids)))


def write_outcomes(connection: Connection, rows: Sequence[OutcomeRow]) -> set[int]:
    """Write those whose lease still holds them; their ids."""
    if not rows:
        return set()
    if _is_sqlite(connection):
        return _write_held(connection, rows)
    # written down by hand, column by column: the driver looks at every element to find out its type
    arrays = tuple(_array(column) for column in zip(*rows, strict=True))
    return {row[0] for row in _fetched(connection.exec_driver_sql(_OUTCOMES_POSTGRESQL, arrays))}


def _write_held(connection: Connection, rows: Sequence[OutcomeRow]) -> set[int]:
    """Asked first which are held, since what an UPDATE returns comes row by row; nobody else writes meanwhile."""
    asked = json.dumps([row[:2] for row in rows])
    held = set(_document(connection, _STILL_HELD, (asked,)))
    for chunk in _chunks(rows if len(held) == len(rows) else [row for row in rows if row.id in held]):
        values = tuple([value for row in chunk for value in _stored(row)])
        connection.exec_driver_sql(_sqlite_outcomes(len(chunk)), values)
    return held


def _chunks(rows: Sequence[OutcomeRow]) -> Iterator[Sequence[OutcomeRow]]:
    at = 0
    for size in _CHUNKS:
        while len(rows) - at >= size:
            yield rows[at : at + size]
            at += size


def _array(column: Sequence[object]) -> str:
    """A column as PostgreSQL writes arrays (§8.15.6 of its manual). Most values of one are the same."""
    written = {one: _element(one) for one in set(column)}
    return f"{{{','.join(map(written.__getitem__, column))}}}"


def _element(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, int):
        return str(value)
    # NUL, which no text of PostgreSQL can hold, is taken out of replies where they are read
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _stored(row: OutcomeRow) -> tuple[object, ...]:
    first, last, following = row[5:8]
    stored = as_stored(last)
    first_stored = stored if first is last else first and as_stored(first)
    return (*row[:5], first_stored, stored, following and as_stored(following), *row[8:])


@cache
def _sqlite_outcomes(rows: int) -> str:
    """The parameters of the rows in a row: binding them is quicker than reading them out of one document."""
    names = ", ".join(f"column{number} AS {name}" for number, (name, _) in enumerate(_COLUMNS, 1))
    one = f"({', '.join('?' * len(_COLUMNS))})"
    values = ", ".join([one] * rows)
    return f"{_OUTCOMES} (SELECT {names} FROM (VALUES {values})) v WHERE {_HELD}"  # noqa: S608 - words of our own


def _fetched(result: CursorResult[Any]) -> Sequence[Sequence[Any]]:
    """The driver's own tuples."""
    rows: Sequence[Sequence[Any]] = result.cursor.fetchall() if result.cursor else ()
    result.close()
    return rows


def _document(connection: Connection, sql: str, values: tuple[object, ...]) -> list[Any]:
    """What SQLite made one value of."""
    found: list[Any] = json.loads(connection.exec_driver_sql(sql, values).scalar_one())
    return found


def _is_sqlite(connection: Connection) -> bool:
    return connection.dialect.name == "sqlite"
