"""Column types that mean the same on SQLite and PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

from sqlalchemy import BigInteger, DateTime, Dialect, Integer
from sqlalchemy.types import TypeDecorator

# SQLite only numbers a primary key by itself when it is called INTEGER.
BigKey = BigInteger().with_variant(Integer, "sqlite")


class UtcDateTime(TypeDecorator[datetime]):
    """Aware in, aware out, UTC in between; a naive value is a bug and raises `ValueError`."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone was about to be stored")
        value = value.astimezone(UTC)
        # SQLite stores text without a zone, which compares in order as long as all of it is UTC.
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


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
