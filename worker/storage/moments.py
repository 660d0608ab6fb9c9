"""Times as SQLite keeps them: text without a zone, all of it UTC, so that it compares in order."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache


def as_stored(moment: datetime) -> str:
    """An aware time as SQLite keeps it in a `UtcDateTime` column, for statements written by hand."""
    utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return utc.isoformat(" ", "microseconds")[:26]


def from_stored(value: str | datetime) -> datetime:
    """What the driver gave for a `UtcDateTime` column, aware."""
    return _read(value) if isinstance(value, str) else value


# the rows of one slice were made at one moment
@lru_cache(maxsize=256)
def _read(value: str) -> datetime:
    return datetime.fromisoformat(value).replace(tzinfo=UTC)
