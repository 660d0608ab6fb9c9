"""The test servers themselves: a database with all tables on both engines, emptied Redis."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import inspect

from worker.settings import Settings
from worker.storage.database import Database
from worker.storage.models import Base


@pytest.mark.parametrize("turn", [1, 2])
def test_each_test_gets_its_own_database(database: Database, backend: str, turn: int) -> None:
    names = set(inspect(database.engine).get_table_names())
    assert names == set(Base.metadata.tables)
    assert database.is_sqlite == (backend == "sqlite")
    with database.write() as connection:
        connection.exec_driver_sql("CREATE TABLE mine (a int)")


@pytest.mark.parametrize("turn", [1, 2])
def test_each_test_gets_an_empty_redis(redis_client: Redis, turn: int) -> None:
    assert redis_client.dbsize() == 0
    redis_client.set("a", "b")


def test_an_empty_database_has_no_tables(empty_database_url: str) -> None:
    database = Database(empty_database_url)
    assert inspect(database.engine).get_table_names() == []
    database.close()


def test_settings_live_in_the_tests_folder(make_settings: Callable[..., Settings], tmp_path: Path) -> None:
    settings = make_settings(PRESSRUN_LIMIT_PER_SECOND="5")
    assert settings.var_dir == tmp_path / "var"
    assert settings.limit_per_second == 5
