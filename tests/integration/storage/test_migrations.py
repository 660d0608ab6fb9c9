"""Migrations on both databases: up from nothing, down to nothing, and never apart from the models."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from tests.ledger import seed_campaign, statuses
from worker.domain.clock import FakeClock
from worker.domain.errors import ConfigurationError
from worker.storage import migrate
from worker.storage.database import Database
from worker.storage.migrate import MigrationStatus
from worker.storage.models import Base


@pytest.fixture
def empty(empty_database_url: str) -> Iterator[Database]:
    database = Database(empty_database_url)
    yield database
    database.close()


def tables(database: Database) -> set[str]:
    with database.read() as connection:
        return set(inspect(connection).get_table_names())


def catalogue(database: Database) -> set[tuple[str, ...]]:
    """Everything a database says about its tables, indexes and constraints, in its own words."""
    if database.is_sqlite:
        asked = "SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'alembic%' AND name NOT LIKE 'sqlite_%'"
    else:
        asked = """
            SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'alembic_version'
            UNION ALL SELECT conrelid::regclass || '.' || conname, pg_get_constraintdef(oid) FROM pg_constraint
              WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text <> 'alembic_version'
            UNION ALL SELECT table_name || '.' || column_name,
                data_type || is_nullable || ordinal_position || coalesce(column_default, '')
                || coalesce(character_maximum_length::text, '')
              FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'alembic_version'
        """
    with database.read() as connection:
        # a table that was renamed has its name in quotes from then on
        return {(name, "".join(said.replace('"', "").split())) for name, said in connection.execute(text(asked))}


def test_upgrade_from_empty_and_back_to_nothing(empty: Database) -> None:
    assert migrate.state(empty).status is MigrationStatus.EMPTY
    migrate.upgrade(empty)
    assert migrate.state(empty).status is MigrationStatus.CURRENT
    assert set(Base.metadata.tables) <= tables(empty)
    migrate.upgrade(empty)
    migrate.downgrade(empty, migrate.BASE)
    assert tables(empty) <= {"alembic_version"}
    assert migrate.state(empty).status is MigrationStatus.EMPTY


def test_fencing_tokens_go_on_over_a_migration_and_back(empty: Database) -> None:
    """A lease's id is never used twice; a table that is made anew would begin at 1 again."""
    add = "INSERT INTO leases (owner, claimed_at, expires_at) VALUES ('a', '2025-02-09', '2025-02-09') RETURNING id"

    def claimed() -> int:
        with empty.write() as connection:
            token = int(connection.execute(text(add)).scalar_one())
            connection.execute(text("DELETE FROM leases"))
        return token

    migrate.upgrade(empty)
    migrate.downgrade(empty, "0001")
    assert "warmup_days" not in tables(empty)
    assert [claimed(), claimed()] == [1, 2]
    migrate.upgrade(empty)
    assert claimed() == 3
    migrate.downgrade(empty, "0001")
    assert claimed() == 4


def test_autogenerate_finds_nothing_to_do(empty: Database) -> None:
    migrate.upgrade(empty)
    with empty.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_migrated_tables_are_the_models_to_the_letter(empty: Database, database: Database) -> None:
    """Autogenerate does not see the conditions of partial indexes, or checks."""
    migrate.upgrade(empty)
    assert catalogue(empty) == catalogue(database)


def test_two_upgrades_at_once_are_one(empty: Database) -> None:
    start, errors = threading.Barrier(3), []

    def run() -> None:
        own = Database(empty.url.render_as_string(hide_password=False))
        start.wait()
        try:
            migrate.upgrade(own)
        except Exception as error:
            errors.append(error)
        finally:
            own.close()

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert migrate.state(empty).status is MigrationStatus.CURRENT


def test_an_upgrade_that_fails_leaves_nothing_behind(empty: Database) -> None:
    with empty.write() as connection:
        connection.execute(text("CREATE TABLE attempts (id INTEGER)"))
    with pytest.raises(Exception, match="attempts"):
        migrate.upgrade(empty)
    assert tables(empty) == {"attempts"}


def test_an_empty_database_is_refused_with_the_fix(empty: Database) -> None:
    with pytest.raises(ConfigurationError, match="run `pressrun db upgrade`"):
        migrate.require_current(empty)
    migrate.upgrade(empty)
    migrate.require_current(empty)


def test_an_older_database_is_refused_with_the_fix(empty: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    migrate.upgrade(empty)
    older = migrate.MigrationState("0001", "0003", MigrationStatus.OLDER)
    monkeypatch.setattr(migrate, "state", lambda _database: older)
    with pytest.raises(ConfigurationError, match="at 0001, this version needs 0003: run `pressrun db upgrade`"):
        migrate.require_current(empty)


def test_a_newer_database_is_left_alone(empty: Database) -> None:
    migrate.upgrade(empty)
    with empty.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    assert migrate.state(empty).status is MigrationStatus.NEWER
    for attempt in (migrate.require_current, migrate.upgrade, lambda one: migrate.downgrade(one, migrate.BASE)):
        with pytest.raises(ConfigurationError, match=r"9999.*newer Pressrun"):
            attempt(empty)


def test_an_unknown_revision_names_the_known_ones(empty: Database) -> None:
    migrate.upgrade(empty)
    with pytest.raises(ConfigurationError, match="'0815': not known; allowed: base, 0001"):
        migrate.downgrade(empty, "0815")


def test_rows_outlive_the_migrations_between(empty: Database, clock: FakeClock) -> None:
    """Down to the first version and up again: on SQLite some tables are made anew on the way."""
    migrate.upgrade(empty)
    seeded = seed_campaign(empty, clock.now(), 3)
    migrate.downgrade(empty, "0001")
    assert "ledger" not in tables(empty)
    migrate.upgrade(empty)
    with empty.read() as connection:
        found = connection.execute(text("SELECT id, campaign_id FROM deliveries ORDER BY id")).all()
        assert connection.execute(text("SELECT id FROM subscriptions ORDER BY id")).scalars().all() == [1, 2, 3]
    assert [tuple(row) for row in found] == [(one, seeded.campaign_id) for one in seeded.deliveries]
    assert statuses(empty) == {"queued": 3}
