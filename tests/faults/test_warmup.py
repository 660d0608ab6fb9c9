"""A new domain's day, through kills, restarts and an emptied Redis: never more than its allowance, and nothing lost."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import func, select

from tests.ledger import assert_counters_agree
from tests.running import Running, post_event, signup_event, wait_until
from tests.servers import REPOSITORY, RedisServer
from tests.smtpd import Options, SmtpServer
from worker.storage.models import WarmupDayRow

READERS = 500
ALLOWANCE = 300
BULK = 270
"""All but the tenth that is kept for transactional mail."""

_ROOM = timedelta(minutes=3)


def config(folder: Path) -> str:
    """The shipped one, with a domain that is new from today on. Waits over midnight, where it is near."""
    now = datetime.now(UTC)
    midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    if midnight - now < _ROOM:
        time.sleep((midnight - now).total_seconds() + 1)
    shutil.copytree(REPOSITORY / "config", folder / "config")
    path = folder / "config" / "publications" / "daily.toml"
    start = f"[warmup]\nstart = {datetime.now(UTC).date()}\n\n[sender]"
    path.write_text(path.read_text("utf-8").replace("[sender]", start, 1), "utf-8")
    return str(folder / "config" / "pressrun.toml")


def used(running: Running) -> int:
    with running.database.read() as connection:
        return int(connection.execute(select(func.coalesce(func.sum(WarmupDayRow.used), 0))).scalar_one())


# It takes 40 s, and before that it may have waited for midnight.
@pytest.mark.timeout(480)
def test_no_fault_makes_a_day_exceed_its_allowance(
    system: Callable[..., Running], own_redis: RedisServer, tmp_path: Path
) -> None:
    """Two bulk processes, killed and Redis emptied before the day's mails are out; stopped and emptied after it.

    What waits is no finding of a sweep, a confirmation goes all the same, and a schedule that is raised is taken up
    at the next start.
    """
    with SmtpServer(options=Options(latency=0.01)) as server, Redis.from_url(own_redis.url) as redis:
        running = system(
            server.url, PRESSRUN_CONFIG=config(tmp_path), PRESSRUN_WARMUP_SCHEDULE=f"{ALLOWANCE},{ALLOWANCE}",
            PRESSRUN_BULK_PROCESSES="2", PRESSRUN_SMTP_CONNECTIONS="4", PRESSRUN_LIMIT_PER_SECOND="100",
            PRESSRUN_RETRY_BASE_SECONDS="1", PRESSRUN_LEASE_SECONDS="5",
        )  # fmt: skip
        running.import_readers(READERS)
        running.emit(post_event())
        wait_until(lambda: len(server.messages) >= 60, 60, running.describe)
        running.kill("bulk")
        redis.flushall()
        running.start("bulk")
        wait_until(lambda: running.counts()["sending"] == 0 and used(running) == BULK, 90, running.describe)
        redis.flushall()
        running.stop("bulk")
        running.start("bulk")
        running.emit(signup_event("ana@example.org"))
        server.wait_for(lambda one: any(mail.rcpt == "ana@example.org" for mail in one.messages), 60)
        # the sweep runs each second: time for it to do what it must not
        time.sleep(4)
        posts = [mail for mail in list(server.messages) if mail.rcpt != "ana@example.org"]
        assert len(posts) <= BULK
        assert used(running) == BULK + 1
        assert running.counts()["sending"] == 0
        seen = running.status()
        assert seen["queues"]["bulk"]["depth"] == 0
        assert seen["campaigns"][0]["status"] == "sending"
        (one,) = seen["warmup"]
        assert (one["used"], one["waiting"]) == (BULK + 1, running.counts()["queued"])
        running.stop("bulk")
        running.stop("scheduler")
        running.environ["PRESSRUN_WARMUP_SCHEDULE"] = "5000"
        running.start("bulk", "scheduler")
        running.wait_sent(READERS + 1, 90)
        readers = [mail.rcpt for mail in server.messages]
    assert len(set(readers)) == READERS + 1
    # twice only what was in an open conversation of the two that were killed
    assert len(readers) - len(set(readers)) <= 2 * 4
    assert_counters_agree(running.database)
