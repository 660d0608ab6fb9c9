"""Fixtures for all tests. Servers are real, shared by the session, and started by the first test that needs them.

`PRESSRUN_REDIS_URL` and `PRESSRUN_DATABASE_URL` (PostgreSQL) in the environment are used instead of servers of
our own: the last databases of that Redis (15, 14, one for each process of the run), which must be empty, and
databases named `pressrun_test_…`.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from redis import Redis
from xdist.scheduler import LoadScopeScheduling

from tests.servers import REPOSITORY, PostgresServer, running_postgres, running_redis
from worker.domain.clock import FakeClock
from worker.settings import Settings, load_settings
from worker.storage.database import Database
from worker.storage.models import Base

_numbers = itertools.count(1)
# What a worker told to stop has for its servers.
_STOP_SECONDS = 60.0


def pytest_configure(config: pytest.Config) -> None:
    """A test run that is told to stop (`timeout`, a CI that gives up) still stops the servers it has started."""
    hands_out = bool(config.getoption("numprocesses", None))

    def stop(_signal: int, _frame: object) -> None:
        if hands_out:
            # its workers have the servers, and each of them this handler; then they wait for the end of this process
            workers = psutil.Process().children()
            for worker in workers:
                worker.terminate()
            until = time.monotonic() + _STOP_SECONDS
            while any(worker.children() for worker in workers) and time.monotonic() < until:
                time.sleep(0.2)
        pytest.exit("stopped by SIGTERM", 143)

    signal.signal(signal.SIGTERM, stop)


# These start whole systems and wait for them by the clock, more than they compute: two at a time, and no more, so that
# none starves another.
_PROMISES = "tests/faults/test_promise_"
_SYSTEMS = ("tests/faults/", "tests/integration/cli/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest chains come first."""
    items.sort(key=lambda item: (not item.nodeid.startswith(_PROMISES), not item.nodeid.startswith(_SYSTEMS)))


def _chain(nodeid: str) -> str:
    """Whole systems are two chains; what is left goes file by file beside them."""
    if nodeid.startswith(_PROMISES):
        return "promises"
    return "systems" if nodeid.startswith(_SYSTEMS) else nodeid.partition("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    scheduler = LoadScopeScheduling(config, log)
    scheduler._split_scope = _chain
    return scheduler


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def make_settings(tmp_path: Path) -> Callable[..., Settings]:
    """`make_settings(PRESSRUN_API_PORT="0", …)`: the repository's settings with all files in `tmp_path`."""

    def make(**environ: str) -> Settings:
        base = {
            "PRESSRUN_CONFIG": str(REPOSITORY / "config" / "pressrun.toml"),
            "PRESSRUN_VAR_DIR": str(tmp_path / "var"),
            "PRESSRUN_SECRET_KEY": "a key for tests, and for nothing else",
        }
        return load_settings(base | environ)

    return make


# -- Redis


@pytest.fixture(scope="session")
def redis_server() -> Iterator[str]:
    """The URL of a real Redis. Take `redis_url` or `redis_client`, which are emptied for each test."""
    given = os.environ.get("PRESSRUN_REDIS_URL")
    if given:
        yield _spare_database(given)
        return
    with running_redis() as server:
        yield server.url


def _spare_database(url: str) -> str:
    number = 15 - int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    spare = f"{url.rstrip('/').rsplit('/', 1)[0] if url.count('/') > 2 else url}/{number}"
    with Redis.from_url(spare) as client:
        if client.dbsize():
            pytest.exit(f"PRESSRUN_REDIS_URL: database {number} at {spare} is not empty; tests would erase it", 2)
    return spare


@pytest.fixture
def redis_url(redis_server: str) -> Iterator[str]:
    """A Redis with nothing in it."""
    with Redis.from_url(redis_server) as client:
        client.flushdb()
        yield redis_server
        client.flushdb()


@pytest.fixture
def redis_client(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


# -- databases


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    given = os.environ.get("PRESSRUN_DATABASE_URL", "")
    if given.startswith("postgres"):
        yield PostgresServer(given.replace("postgres://", "postgresql://", 1))
        return
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_template(postgres_server: PostgresServer) -> Iterator[str]:
    """The name of a database with the whole schema, for copies of it."""
    name = f"pressrun_test_{os.getpid()}"
    _create_tables(postgres_server.create(name))
    yield name
    postgres_server.drop(name)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "pressrun.db"
    _create_tables(f"sqlite:///{path}")
    return path


def _create_tables(url: str) -> None:
    database = Database(url)
    Base.metadata.create_all(database.engine)
    database.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def backend(request: pytest.FixtureRequest) -> str:
    """Each test that asks for a database runs on both; `@pytest.mark.parametrize("backend", ["sqlite"])` picks one."""
    name: str = request.param
    return name


@pytest.fixture
def database_url(backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a database of this test's own, with all tables."""
    if backend == "sqlite":
        path = tmp_path / "pressrun.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    yield from _own_postgres(request, request.getfixturevalue("postgres_template"))


@pytest.fixture
def empty_database_url(backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a database without tables, for migrations."""
    if backend == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    yield from _own_postgres(request, "template1")


def _own_postgres(request: pytest.FixtureRequest, template: str) -> Iterator[str]:
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name = f"pressrun_test_{os.getpid()}_{next(_numbers)}"
    yield server.create(name, template)
    server.drop(name)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A database of this test's own, with all tables, on SQLite and on PostgreSQL."""
    database = Database(database_url)
    yield database
    database.close()
