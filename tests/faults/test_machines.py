"""Bulk workers of two machines over one ledger and one Redis: they share a campaign, and one may die with its disk."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import select

from tests.ledger import assert_counters_agree
from tests.running import Running, post_event, wait_until
from tests.servers import RedisServer
from tests.smtpd import Options, SmtpServer
from worker.crew import Crew
from worker.storage.models import LedgerRow

READERS = 1_500
CONNECTIONS = 2


def chains(running: Running) -> int | None:
    with running.database.read() as connection:
        return connection.execute(select(LedgerRow.chains)).scalar_one_or_none()


def slots(running: Running) -> set[int]:
    """Whose turns this machine's processes had."""
    return {int(found) for found in re.findall(r"^.*\bturn\b.*\bslot=(\d+)", running.log("bulk"), re.MULTILINE)}


@pytest.mark.parametrize("backend", ["postgresql"])
def test_another_machine_takes_its_part_without_a_word_to_anybody(
    system: Callable[..., Running], tmp_path: Path
) -> None:
    """Two processes there make four chains; when it is lost, its journals too, the first goes on with its own two."""
    with SmtpServer(options=Options(latency=0.02)) as server:
        first = system(
            server.url, PRESSRUN_BULK_PROCESSES="2", PRESSRUN_SMTP_CONNECTIONS=str(CONNECTIONS),
            PRESSRUN_LEASE_SECONDS="3", PRESSRUN_RETRY_BASE_SECONDS="1",
        )  # fmt: skip
        first.import_readers(READERS)
        wait_until(lambda: chains(first) == 2, 60, first.describe)
        folder = tmp_path / "another"
        folder.mkdir()
        second = Running(folder, {**first.environ, "PRESSRUN_VAR_DIR": str(folder / "var")})
        try:
            second.start("bulk")
            wait_until(lambda: chains(first) == 4, 60, first.describe)
            first.emit(post_event())
            wait_until(lambda: slots(first) | slots(second) >= {0, 1, 2, 3}, 60, first.describe)
            wait_until(lambda: len(server.messages) >= READERS / 3, 60, first.describe)
            assert slots(second)
            second.kill("bulk")
            shutil.rmtree(folder / "var")
            wait_until(lambda: chains(first) == 2, 60, first.describe)
            first.wait_sent(READERS, 120)
        finally:
            second.close()
        copies = Counter(mail.rcpt for mail in server.messages)
        assert len(copies) == READERS
        # without its journal nobody knows what was open there, and what was not written yet
        assert copies.total() - READERS < READERS / 3
        assert_counters_agree(first.database)


@pytest.mark.parametrize("backend", ["sqlite"])
def test_who_stops_says_so(system: Callable[..., Running], own_redis: RedisServer) -> None:
    with SmtpServer() as server, Redis.from_url(own_redis.url) as redis:
        running = system(server.url, "bulk", PRESSRUN_BULK_PROCESSES="3")
        crew = Crew(redis)
        wait_until(lambda: crew.processes() == 3, 60, running.describe)
        running.stop("bulk")
        assert crew.processes() is None
