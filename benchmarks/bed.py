"""A whole Pressrun for a benchmark, everything on: API, workers, scheduler, Redis, ledger, limits, Celery events."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import text

from benchmarks.accounting import Account, family
from benchmarks.audience import seed
from benchmarks.sinks import Sink
from tests.running import Running, wait_until
from tests.servers import RedisServer, running_postgres, running_redis
from worker.campaigns import glance_queries
from worker.resources import config_dir
from worker.storage.database import Database
from worker.storage.glance import looking

PARTS = ("api", "transactional", "bulk", "scheduler")
# High enough to stop nobody, and asked for each set of mails all the same.
PLENTY = 1_000_000.0
DOMAINS = ("north.example", "south.example")


@dataclass(frozen=True)
class Setup:
    """`limits`: mails a second to each destination; `overall` for all together."""

    database: str
    readers: int
    processes: int = 2
    connections: int = 8
    overall: float = PLENTY
    limits: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(DOMAINS, PLENTY))
    environ: Mapping[str, str] = field(default_factory=dict)
    domains: Sequence[str] = DOMAINS
    """Those of the readers, in turn."""
    bulk: str = ""
    """A module that runs the bulk worker instead of `worker.cli`; it is given the system's folder first."""


class _System(Running):
    def __init__(self, folder: Path, environ: Mapping[str, str], bulk: str) -> None:
        super().__init__(folder, environ)
        self._bulk = bulk

    def command(self, part: str) -> list[str]:
        if part != "bulk" or not self._bulk:
            return super().command(part)
        return [sys.executable, "-m", self._bulk, str(self.folder), "part", part]


class Bed:
    """`send` is what is measured; its readers are there already."""

    def __init__(self, system: Running, redis: RedisServer, sink: Sink) -> None:
        self.system = system
        server = postmaster(system.database)
        groups: dict[str, Callable[[], list[int]]] = {
            part: lambda part=part: [one.pid for one in system.family(part)] for part in PARTS  # type: ignore[misc]
        }
        groups |= {"redis": lambda: [redis.pid], "sink": lambda: [sink.pid]}
        if server is not None:
            groups["database"] = lambda: family(server)
        self._groups = groups

    def account(self) -> Account:
        return Account(self._groups)

    def send(self, event: Mapping[str, Any]) -> float:
        """Hand the event in over HTTP; `time.time()` before."""
        with self.system.api() as client:
            client.get("/healthz")
            began = time.time()
            answer = client.post("/v1/events", json=dict(event))
            assert answer.status_code == 202, answer.text
        return began

    def campaign(self) -> dict[str, Any]:
        """The newest, as `pressrun status --json` has it; empty before there is one."""
        with looking(self.system.settings.database) as ask:
            found: list[dict[str, Any]] = glance_queries.status(ask, datetime.now(UTC), limit=1)["campaigns"]
        return found[0] if found else {}

    def wait(self, readers: int, seconds: float, account: Account | None = None) -> float:
        """Until all of the newest campaign are `sent` in the ledger; `time.time()` then."""
        until = time.monotonic() + seconds
        while (sent := self.campaign().get("counts", {}).get("sent", 0)) < readers:
            if time.monotonic() > until:
                raise TimeoutError(f"{sent:,} of {readers:,} within {seconds:.0f} s: {self.system.describe()}")
            if account is not None and sent < readers * 0.9:
                account.look()
                time.sleep(0.3)
            time.sleep(0.1)
        return time.time()

    def wait_finished(self) -> float:
        """Until the newest campaign is called finished; `finished_at` as `time.time()`."""
        wait_until(lambda: self.campaign().get("status") == "finished", 60, self.system.describe)
        return datetime.fromisoformat(self.campaign()["finished_at"]).timestamp()


@contextmanager
def made(setup: Setup, sink: Sink) -> Iterator[Bed]:
    """Migrated, filled with readers, up and ready; its files are thrown away afterwards."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pr-bench-")))
        redis = stack.enter_context(running_redis())
        url = stack.enter_context(ledger(setup.database, folder))
        system = _System(folder, _environ(setup, folder, url, redis.url, sink.port), setup.bulk)
        stack.callback(system.close)
        system.run("db", "upgrade")
        seed(system.database, setup.readers, setup.domains)
        system.start(*PARTS)
        wait_until(lambda: all("ready" in system.log(part) for part in ("bulk", "transactional")), 60, system.describe)
        system.api().close()
        yield Bed(system, redis, sink)


@contextmanager
def ledger(kind: str, folder: Path) -> Iterator[str]:
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'bench.db'}"
        return
    with running_postgres() as server:
        # tests do without the disk; a ledger does not
        server.set("fsync", "on")
        yield server.create("bench")


def _environ(setup: Setup, folder: Path, database: str, redis: str, port: int) -> dict[str, str]:
    return {
        "PRESSRUN_CONFIG": str(_config(setup, folder)), "PRESSRUN_DATABASE_URL": database, "PRESSRUN_REDIS_URL": redis,
        "PRESSRUN_SMTP_URL": f"smtp://127.0.0.1:{port}", "PRESSRUN_BULK_PROCESSES": str(setup.processes),
        "PRESSRUN_SMTP_CONNECTIONS": str(setup.connections), "PRESSRUN_LIMIT_PER_SECOND": str(setup.overall),
        "PRESSRUN_SMTP_MESSAGES_PER_CONNECTION": "1000000", "PRESSRUN_SWEEP_SECONDS": "5",
        "PRESSRUN_SIGNUPS_PER_IP_HOUR": "1000000", **setup.environ,
    }  # fmt: skip


def _config(setup: Setup, folder: Path) -> Path:
    """The shipped configuration, with a limit for the publication and for two destinations."""
    config = folder / "config"
    shutil.copytree(config_dir(), config)
    daily = config / "publications" / "daily.toml"
    daily.write_text(f"limit_per_second = {PLENTY}\n{daily.read_text('utf-8')}", "utf-8")
    blocks = (
        f'[destinations.{domain.partition(".")[0]}]\ndomains = ["{domain}"]\nlimit = {{ count = {limit} }}\n'
        for domain, limit in setup.limits.items()
    )
    (config / "shaping.toml").write_text("\n".join(blocks), "utf-8")
    return config / "pressrun.toml"


def postmaster(database: Database) -> int | None:
    """The server's first process, if there is one and it runs here."""
    if database.is_sqlite:
        return None
    with database.read() as connection:
        pid: int = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    parent = psutil.Process(pid).parent()
    return parent.pid if parent else pid
