"""Migrations, from inside the installed package: no `alembic.ini`, no working directory.

To write one: change the models, then `alembic.command.revision` with `script_config()`; a test holds the
migrated tables against the models.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, event, func, select

from worker.domain.errors import ConfigurationError
from worker.storage.database import Database
from worker.storage.glance import newer

HEAD = "head"
BASE = "base"

# Any number: who upgrades a PostgreSQL database holds this lock, and the next waits and finds it done.
_UPGRADE_LOCK = 7_077_001


class MigrationStatus(StrEnum):
    CURRENT = "current"
    EMPTY = "empty"
    OLDER = "older"
    NEWER = "newer"


@dataclass(frozen=True, slots=True)
class MigrationState:
    """Where a database stands. `current`: its revision, None while it is empty; `head`: this version's."""

    current: str | None
    head: str
    status: MigrationStatus


def upgrade(database: Database) -> None:
    """Bring the database to this version's tables; all or nothing. Raises `ConfigurationError` where it is newer."""
    with _migrating(database) as (connection, config):
        _refuse_newer(_state(connection, ScriptDirectory.from_config(config)))
        command.upgrade(config, HEAD)


def downgrade(database: Database, revision: str) -> None:
    """Back to `revision`, or to `base`: without any table. Raises `ConfigurationError` for an unknown one."""
    with _migrating(database) as (connection, config):
        scripts = ScriptDirectory.from_config(config)
        known = [one.revision for one in scripts.walk_revisions()]
        if revision not in (BASE, *known):
            raise ConfigurationError(f"revision {revision!r}: not known; allowed: {BASE}, {', '.join(sorted(known))}")
        _refuse_newer(_state(connection, scripts))
        command.downgrade(config, revision)


def state(database: Database) -> MigrationState:
    """Raises `DatabaseUnavailable`."""
    with database.read() as connection:
        return _state(connection, ScriptDirectory.from_config(script_config()))


def require_current(database: Database) -> None:
    """Raise `ConfigurationError`, with the fix, unless the database has this version's tables."""
    found = state(database)
    _refuse_newer(found)
    if found.status is MigrationStatus.EMPTY:
        raise ConfigurationError("the database has no tables yet: run `pressrun db upgrade`")
    if found.status is MigrationStatus.OLDER:
        raise ConfigurationError(
            f"the database is at {found.current}, this version needs {found.head}: run `pressrun db upgrade`"
        )


def script_config() -> Config:
    """Alembic's configuration; the scripts are found beside this file."""
    config = Config()
    # `%` would start an interpolation
    folder = str(Path(__file__).with_name("migrations")).replace("%", "%%")
    config.set_main_option("script_location", folder)
    return config


def _state(connection: Connection, scripts: ScriptDirectory) -> MigrationState:
    current = MigrationContext.configure(connection).get_current_revision()
    head = scripts.get_current_head()
    assert head is not None, "there is a first migration"
    if current is None:
        return MigrationState(None, head, MigrationStatus.EMPTY)
    known = {one.revision for one in scripts.walk_revisions()}
    if current == head:
        status = MigrationStatus.CURRENT
    else:
        status = MigrationStatus.OLDER if current in known else MigrationStatus.NEWER
    return MigrationState(current, head, status)


def _refuse_newer(found: MigrationState) -> None:
    if found.status is MigrationStatus.NEWER:
        raise newer(found.current, found.head)


@contextmanager
def _migrating(database: Database) -> Iterator[tuple[Connection, Config]]:
    """One transaction over a whole run, and one run at a time: on SQLite by the write lock."""
    # A database object of its own: batch mode drops and makes tables anew, which needs SQLite's foreign keys
    # off from before the transaction, and nobody else may get such a connection.
    own = Database(database.url.render_as_string(hide_password=False), pool_size=1)
    if own.is_sqlite:
        event.listen(own.engine, "connect", _without_foreign_keys)
    try:
        with own.write() as connection:
            if not own.is_sqlite:
                connection.execute(select(func.pg_advisory_xact_lock(_UPGRADE_LOCK)))
            config = script_config()
            config.attributes["connection"] = connection
            yield connection, config
    finally:
        own.close()


def _without_foreign_keys(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA foreign_keys=OFF")
