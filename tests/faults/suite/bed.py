"""Everything one run needs, up: receiving server, Redis behind a line that can be cut, database, Pressrun."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from redis import Redis

from tests.faults.suite.clocks import ShiftedClock
from tests.faults.suite.history import History
from tests.faults.suite.house import House
from tests.faults.suite.inbox import Inbox, Tls
from tests.faults.suite.line import Line
from tests.faults.suite.readers import add_readers
from tests.running import wait_until
from tests.servers import REPOSITORY, PostgresServer, RedisServer, running_postgres

LEASE_SECONDS = 3.0
CONNECTIONS = 4
# What a real one takes; it also keeps conversations open for long enough to be hit.
_LATENCY = 0.004


@dataclass(frozen=True)
class Setting:
    """What a run is made of. `rate`: mails a second over all, None for as fast as it goes."""

    database: str
    readers: int
    rate: float | None
    tls: Tls = "none"
    unknown: str = "retry"
    moves_clock: bool = False
    environ: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Bed:
    """The parts that faults take hold of."""

    setting: Setting
    folder: Path
    history: History
    inbox: Inbox
    redis: RedisServer
    line: Line
    postgres: PostgresServer | None
    house: House
    clock: ShiftedClock | None
    spare: RedisServer | None = None
    """The Redis of a failover."""
    ending: threading.Event = field(default_factory=threading.Event)

    def progress(self) -> float:
        """Messages received, as a part of those expected; goes beyond 1."""
        return self.inbox.accepted() / max(1, self.setting.readers)

    def redis_client(self) -> Redis:
        """To the server itself, not over the line."""
        return Redis.from_url((self.spare or self.redis).url, socket_timeout=5)

    def pause(self, seconds: float) -> None:
        """A fault lasts; ends early where the run is given up."""
        self.ending.wait(seconds)

    def heal(self) -> None:
        """End of all faults."""
        self.inbox.heal()
        self.line.delay = 0.0
        self.line.go_on()


@contextmanager
def made(setting: Setting, folder: Path) -> Iterator[Bed]:
    """Migrated, filled with readers, all parts up and ready."""
    folder.mkdir(parents=True)
    with ExitStack() as stack:
        history = History()
        inbox = Inbox(folder / "inbox", setting.tls, _LATENCY)
        stack.callback(inbox.close)
        redis = _redis(stack)
        line = Line(redis.port)
        stack.callback(line.close)
        postgres = stack.enter_context(running_postgres()) if setting.database == "postgresql" else None
        clock = ShiftedClock(folder) if setting.moves_clock else None
        url = postgres.create("faults") if postgres else f"sqlite:///{folder / 'pressrun.db'}"
        environ = _environ(setting, folder, url, line.port, inbox)
        house = House(folder, environ, history, inbox.port, clock)
        stack.callback(house.close)
        house.run("db", "upgrade")
        add_readers(house.database, setting.readers)
        bed = Bed(setting, folder, history, inbox, redis, line, postgres, house, clock)
        stack.callback(_end_spare, bed)
        house.open()
        wait_until(lambda: all("ready" in house.log(part) for part in ("bulk", "transactional")), 90, house.describe)
        house.api().close()
        history.began = time.time()
        yield bed


def another_redis() -> RedisServer:
    """Empty, in a folder of its own; a socket's path may hold about 100 bytes, so it is a short one."""
    server = RedisServer(Path(tempfile.mkdtemp(prefix="pr-faults-")))
    server.start()
    return server


def _redis(stack: ExitStack) -> RedisServer:
    server = another_redis()

    def end() -> None:
        with suppress(ProcessLookupError):
            server.stop()
        shutil.rmtree(server.folder, ignore_errors=True)

    stack.callback(end)
    return server


def _end_spare(bed: Bed) -> None:
    if bed.spare is not None:
        bed.spare.stop()
        shutil.rmtree(bed.spare.folder, ignore_errors=True)


def _environ(setting: Setting, folder: Path, database: str, redis: int, inbox: Inbox) -> dict[str, str]:
    given = {
        "CONFIG": str(_config(folder)), "DATABASE_URL": database, "REDIS_URL": f"redis://127.0.0.1:{redis}/0",
        "SMTP_URL": inbox.url, "SMTP_CA_FILE": str(inbox.good.cert),
        # everything that waits, scaled down
        "LEASE_SECONDS": f"{LEASE_SECONDS:g}", "SWEEP_SECONDS": "1", "RETRY_BASE_SECONDS": "0.2",
        "RETRY_CAP_SECONDS": "2", "SMTP_CONNECT_TIMEOUT_SECONDS": "1", "SMTP_TIMEOUT_SECONDS": "2",
        "SMTP_DONE_TIMEOUT_SECONDS": "3",
        "BULK_PROCESSES": "2", "SMTP_CONNECTIONS": str(CONNECTIONS), "SMTP_MESSAGES_PER_CONNECTION": "40",
        "LIMIT_PER_SECOND": "" if setting.rate is None else f"{setting.rate:g}",
        "CAMPAIGNS_PER_HOUR": "1000", "SIGNUPS_PER_IP_HOUR": "1000000", "UNKNOWN_BULK": setting.unknown,
        "LOG_LEVEL": "INFO",
    }  # fmt: skip
    return {f"PRESSRUN_{name}": value for name, value in given.items()} | dict(setting.environ)


def _config(folder: Path) -> Path:
    """The shipped configuration with a second list, and a template that fails for readers called Breaker."""
    config = folder / "config"
    shutil.copytree(REPOSITORY / "config", config)
    daily = config / "publications" / "daily.toml"
    text = daily.read_text("utf-8").replace("\n[sender]", '\ntemplates = "faulty"\n\n[sender]', 1)
    daily.write_text(text + '\n[[lists]]\nslug = "extra"\nname = "Extra"\ndescription = "Now and then."\n', "utf-8")
    faulty = config / "publications" / "faulty" / "new_post"
    faulty.mkdir(parents=True)
    (faulty / "body.txt").write_text(_FAULTY, "utf-8")
    return config / "pressrun.toml"


_FAULTY = """{% extends "default/new_post/body.txt" %}
{% block footer %}{{ super() }}{% if recipient.name == "Breaker" %}{{ post.nothing_like_that }}{% endif %}{% endblock %}
"""
