"""One database, two ways in: `read()` and `write()`. A write is one transaction, committed on leaving.

On SQLite, where one writer at a time is allowed, writers queue on a file lock before they begin: the
kernel wakes them in turn, where SQLite's own busy handler sleeps and is overtaken for a second and more.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool

from worker.domain.errors import ConfigurationError, TemporaryError
from worker.storage.filelock import FileLock

# The lock makes waits short; this only covers a foreign tool (a backup, say) that holds the file.
_SQLITE_BUSY_SECONDS = 10

# Its JSON functions are always there since then (sqlite.org/json1.html §2), RETURNING and UPDATE FROM before.
_SQLITE_SINCE = (3, 38)

_NO_DATABASE = "file is not a database"

# Our transactions take milliseconds. One whose client is silent for this long belongs to a process that was
# stopped in the middle of it, and must not keep its locks for as long as that lasts.
_STOPPED_SECONDS = 10
# More than a set of outcomes (`recorder.SET_SIZE`).
_PIPELINED_FROM = 300


class DatabaseUnavailable(TemporaryError):
    """The database cannot be reached or written now."""


class Database:
    """`url` is a SQLAlchemy URL with its driver. Nothing is opened before the first use.

    `gives_way`: on SQLite, this process lets the writers of others go first (`FileLock`).
    """

    gives_way = False

    def __init__(self, url: str, *, pool_size: int = 5) -> None:
        self.url = _url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.engine = _engine(url, self.is_sqlite, pool_size)
        self._lock = FileLock(Path(f"{self.url.database}.lock")) if self.is_sqlite else None
        if self.is_sqlite:
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", _begin_deferred)
        else:
            event.listen(self.engine, "connect", _prepare_postgresql)
            event.listen(self.engine, "do_executemany", _one_after_the_other)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection whose work is rolled back on leaving. Raises `DatabaseUnavailable`."""
        with _translated(self.url.render_as_string()), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self, *, journalled: bool = False) -> Iterator[Connection]:
        """One transaction: committed on leaving, rolled back on an exception. Raises `DatabaseUnavailable`.

        `journalled`: what it says can be told again by the journal, so that it need not outlive the host. SQLite
        then does not wait for the disk (some ms, with the lock held); every process may still be killed. A
        PostgreSQL waits all the same: it is a process that may be killed, too.
        """
        with _translated(self.url.render_as_string()), self._turn(), self.engine.connect() as connection:
            if self.is_sqlite:
                _wait_for_disk(connection, wait=not journalled)
                connection.execution_options(pressrun_write=True)
            with connection.begin():
                yield connection

    def has_waiters(self) -> bool:
        """Whether another writer waits for its turn: on SQLite, who writes a lot lets them pass."""
        return self._lock is not None and self._lock.has_waiters()

    def close(self) -> None:
        self.engine.dispose()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        with ExitStack() as stack:
            if self._lock is not None:
                try:
                    stack.enter_context(self._lock.held(gives_way=self.gives_way))
                except OSError as error:
                    # no right to write, a read-only disk, a folder that is gone
                    where = f"database {self.url.database}"
                    raise DatabaseUnavailable(f"{where}: {error.strerror}: {error.filename}") from error
            yield


def _url(url: str) -> URL:
    try:
        return make_url(url)
    except (ArgumentError, ValueError):
        # not shown: it holds a password
        raise ConfigurationError(
            "PRESSRUN_DATABASE_URL: is no URL; allowed: postgresql://user:password@host:5432/name, with `/`, `?`, `#` "
            "and `@` in the password written %2F, %3F, %23 and %40"
        ) from None


def _engine(url: str, is_sqlite: bool, pool_size: int) -> Engine:
    if not is_sqlite:
        return create_engine(url, pool_size=pool_size, max_overflow=pool_size, pool_pre_ping=True)
    if sqlite3.sqlite_version_info < _SQLITE_SINCE:
        raise ConfigurationError(
            f"PRESSRUN_DATABASE_URL: SQLite {sqlite3.sqlite_version} is too old; "
            f"allowed: {'.'.join(map(str, _SQLITE_SINCE))} and newer, or PostgreSQL"
        )
    path = make_url(url).database
    if not path or path == ":memory:":
        raise ConfigurationError("PRESSRUN_DATABASE_URL: SQLite needs a file that all processes can open")
    connect_args = {"timeout": _SQLITE_BUSY_SECONDS, "check_same_thread": False, "isolation_level": None}
    return create_engine(
        url, connect_args=connect_args, poolclass=QueuePool, pool_size=pool_size, max_overflow=40
    )


def _one_after_the_other(cursor: Any, statement: str, parameters: Sequence[Any], _context: object) -> bool:
    """Instead of psycopg's `executemany`, which is a pipeline: a PostgreSQL that was asked to flush one has no time
    limit for the rest of the transaction, and a process that is stopped just then would keep its locks for ever.

    Of many rows at once (an import) a pipeline is worth it, and nobody waits for those.
    """
    if len(parameters) > _PIPELINED_FROM:
        return False
    for one in parameters:
        cursor.execute(statement, one)
    return True


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    # FULL: what was answered with 202 is on the disk, not in a cache (promise 1).
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute("PRAGMA temp_store=MEMORY")
    # KiB for each connection. Twice as much sends no faster, and fills only in a campaign of some hundred thousand.
    cursor.execute("PRAGMA cache_size=-16000")
    cursor.close()


def _prepare_postgresql(connection: Any, _record: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SET idle_in_transaction_session_timeout = '{_STOPPED_SECONDS}s'")
    connection.commit()


def _wait_for_disk(connection: Connection, *, wait: bool) -> None:
    """For this transaction; it cannot be changed within one."""
    driver = connection.connection.driver_connection
    assert driver is not None
    driver.execute("PRAGMA synchronous=FULL" if wait else "PRAGMA synchronous=NORMAL")


def _begin_deferred(connection: Connection) -> None:
    """The driver's own BEGIN is off; a write takes the lock at once, or a read could deadlock into one."""
    write = connection.get_execution_options().get("pressrun_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


@contextmanager
def _translated(shown: str) -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        raise DatabaseUnavailable(f"database {shown}: {_first_line(error)}") from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise DatabaseUnavailable(f"database {shown}: {_first_line(error)}") from error
        if _first_line(error) == _NO_DATABASE:
            raise ConfigurationError(_damaged(shown)) from error
        raise
    except PoolTimeout as error:
        raise DatabaseUnavailable(f"database {shown}: all connections are in use") from error
    except sqlite3.OperationalError as error:
        # from `_prepare_sqlite`, which runs outside SQLAlchemy's own translation
        raise DatabaseUnavailable(f"database {shown}: {error}") from error
    except sqlite3.DatabaseError as error:
        if str(error) == _NO_DATABASE:
            raise ConfigurationError(_damaged(shown)) from error
        raise


def _damaged(shown: str) -> str:
    fix = "restore it from a backup, or move it away and run `pressrun db upgrade`"
    return f"database {shown}: is no SQLite database; {fix}"


def _first_line(error: DBAPIError) -> str:
    return str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else type(error.orig).__name__
