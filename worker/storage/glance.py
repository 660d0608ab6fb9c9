"""A look at the ledger without SQLAlchemy, for `pressrun status`: importing it takes longer than the whole answer may.

Reads only. Everything else goes through `Database`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worker.domain.errors import ConfigurationError, TemporaryError
from worker.storage.moments import as_stored

if TYPE_CHECKING:
    from sqlalchemy import Connection

_MIGRATIONS = Path(__file__).with_name("migrations") / "versions"

Ask = Callable[[str, Sequence[object]], list[tuple[Any, ...]]]
"""`ask(sql, values)`; values stand as `?` in the SQL on every database, times and dates are given as such."""


@contextmanager
def looking(url: str) -> Iterator[Ask]:
    """A connection that reads. `url` is SQLAlchemy's, as `Settings.database` gives it.

    Raises `ConfigurationError` where nothing is there yet, `TemporaryError` where it cannot be reached.
    """
    look = _sqlite if url.startswith("sqlite") else _postgresql
    with look(url) as ask:
        yield ask


def refuse_newer(ask: Ask) -> None:
    """Raise `ConfigurationError` for a database of a newer version.

    Migrations are numbered; the newest of this version is the last file's. Alembic itself takes long to import.
    """
    head = max(path.name[:4] for path in _MIGRATIONS.glob("[0-9]*_*.py"))
    current = next((str(row[0]) for row in ask("SELECT version_num FROM alembic_version", ())), "")
    if current > head:
        raise newer(current, head)


def newer(current: str | None, head: str) -> ConfigurationError:
    """What is said of a database that a newer version has migrated."""
    return ConfigurationError(
        f"the database is at {current}, which this version (up to {head}) does not know: it was made by a newer "
        "Pressrun; install that version or newer"
    )


def moment(value: Any) -> datetime | None:
    """A stored time, aware: SQLite keeps text without a zone, all of it UTC."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if value is None or not isinstance(value, datetime):
        return None
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def through(connection: Connection) -> Ask:
    """The same over a connection of `Database`, for what is asked both ways."""

    def ask(sql: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        if connection.dialect.name == "sqlite":
            found = connection.exec_driver_sql(sql, _as_text(values))
        else:
            found = connection.exec_driver_sql(sql.replace("?", "%s"), tuple(values))
        return [tuple(row) for row in found]

    return ask


def _as_text(values: Sequence[object]) -> tuple[object, ...]:
    """As SQLite keeps them."""
    return tuple(
        as_stored(one) if isinstance(one, datetime) else one.isoformat() if isinstance(one, date) else one
        for one in values
    )


@contextmanager
def _sqlite(url: str) -> Iterator[Ask]:
    path = url.partition("///")[2]
    try:
        # rw, since a look at a WAL database may have to make its shared-memory file; it never makes the database
        connection = sqlite3.connect(f"file:{_quoted(path)}?mode=rw", uri=True, timeout=5)
    except sqlite3.OperationalError:
        if Path(path).exists():
            raise ConfigurationError(f"database {path}: cannot be read by this user; give it the right to") from None
        raise ConfigurationError(f"there is no database at {path} yet: run `pressrun db upgrade`") from None
    try:
        connection.execute("PRAGMA query_only=ON")
        yield lambda sql, values: connection.execute(sql, _as_text(values)).fetchall()
    except sqlite3.OperationalError as error:
        raise _unready(str(error), missing="no such" in str(error)) from None
    except sqlite3.DatabaseError as error:
        # damaged, or no database at all
        raise ConfigurationError(f"database {path}: {error}; restore it from a backup") from None
    finally:
        connection.close()


@contextmanager
def _postgresql(url: str) -> Iterator[Ask]:
    import psycopg

    try:
        with psycopg.connect(url.replace("+psycopg", "", 1), connect_timeout=5) as connection:
            connection.read_only = True
            yield lambda sql, values: connection.execute(sql.replace("?", "%s").encode(), tuple(values)).fetchall()
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn) as error:
        raise _unready(str(error), missing=True) from None
    except psycopg.OperationalError as error:
        raise _unready(str(error), missing=False) from None


def _unready(detail: str, *, missing: bool) -> Exception:
    line = detail.strip().splitlines()[0] if detail.strip() else "no answer"
    if missing:
        return ConfigurationError(f"the database is not at this version's migration: {line}; run `pressrun db upgrade`")
    return TemporaryError(f"the database cannot be read: {line}")


def _quoted(path: str) -> str:
    from urllib.parse import quote

    return quote(path)
