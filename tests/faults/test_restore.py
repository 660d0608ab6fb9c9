"""A database restored from yesterday's dump starts held and says what it would send: the whole system."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select

from tests.running import Running, post_event, wait_until
from tests.smtpd import SmtpServer
from worker.storage.models import LedgerRow

READERS = 120
WORKERS = ("transactional", "bulk", "scheduler")


def swept(running: Running) -> object:
    with running.database.read() as connection:
        return connection.execute(select(LedgerRow.swept_at)).scalar()


@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_database_restored_from_yesterdays_dump_starts_held(system: Callable[..., Running]) -> None:
    with SmtpServer() as server:
        running = system(server.url, PRESSRUN_LIMIT_PER_SECOND="30")
        running.import_readers(READERS)
        running.emit(post_event())
        server.wait_for(lambda one: len(one.messages) > 20, 60)
        wait_until(lambda: swept(running) is not None, 20, running.describe)
        path = Path(str(running.database.url.database))
        copy = path.with_suffix(".backup")
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
            with target:
                # it was taken yesterday
                target.execute("UPDATE ledger SET mark = mark - 86400, cleared = cleared - 86400")
        running.wait_sent(READERS)
        for part in WORKERS:
            running.stop(part)
        running.database.close()
        for old in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
            old.unlink(missing_ok=True)
        shutil.move(copy, path)

        before = swept(running)
        running.start(*WORKERS)
        wait_until(lambda: "held" in running.status(), 40, running.describe)
        wait_until(lambda: swept(running) != before, 40, running.describe)
        waiting = running.counts()["queued"]
        assert waiting > 0
        assert len(server.messages) == READERS
        assert "SENDING IS HELD" in running.run("status")
        held = running.status()["held"]
        assert "restored from a copy" in held["why"]
        assert [one["n"] for one in held["campaigns"]] == [waiting + running.counts()["deferred"]]

        assert f"campaign 1 (daily, post post-1): {waiting:,}" in running.run("db", "release", check=False)
        assert "held" in json.loads(running.run("status", "--json"))
        assert "released: sending goes on" in running.run("db", "release", "--yes")
        running.wait_sent(READERS)
        # what was sent since the dump is sent again, as the same message
        assert len({one.message_id for one in server.messages}) == READERS
        assert "nothing is held" in running.run("db", "release")
