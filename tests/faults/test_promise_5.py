"""Promise 5: who leaves, or whose campaign is stopped, gets nothing whose conversation starts more than 2 s later."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from sqlalchemy import select

from tests.running import Running, post_event, wait_until
from tests.smtpd import SmtpServer
from worker.storage.models import DeliveryRow

SLOW = {"PRESSRUN_LIMIT_PER_SECOND": "50"}


@pytest.mark.parametrize("command", ["pause", "cancel"])
def test_a_stopped_campaign(system: Callable[..., Running], command: str) -> None:
    with SmtpServer() as server:
        running = system(server.url, **SLOW)
        running.import_readers(600)
        running.emit(post_event())
        server.wait_for(lambda one: len(one.messages) > 30, 60)
        (campaign,) = running.status()["campaigns"]
        running.run(command, str(campaign["id"]))
        stopped_at = time.time()
        wait_until(lambda: running.counts()["sending"] == 0, 30, running.describe)
        if command == "cancel":
            wait_until(lambda: running.counts()["queued"] == 0, 30, running.describe)
        late = [one for one in server.messages if one.at > stopped_at + 2]
        assert late == []
        assert len(server.messages) < 600
        if command == "pause":
            running.run("resume", str(campaign["id"]))
            running.wait_sent(600)
            assert len({one.rcpt for one in server.messages}) == len(server.messages) == 600


@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_reader_who_is_suppressed(system: Callable[..., Running]) -> None:
    with SmtpServer() as server:
        # 20 s of mail, the last of it for her: a loaded machine may take long over the command
        running = system(server.url, PRESSRUN_LIMIT_PER_SECOND="20")
        running.import_readers(400)
        running.emit(post_event())
        server.wait_for(lambda one: len(one.messages) > 5, 60)
        running.run("suppress", "reader399@example.com")
        with running.database.read() as connection:
            hers = select(DeliveryRow.status).where(DeliveryRow.address == "reader399@example.com")
            assert connection.execute(hers).scalar_one() == "queued", "she must not be under way yet"
        running.wait_sent(399)
        assert "reader399@example.com" not in {one.rcpt for one in server.messages}
        wait_until(lambda: running.counts() == {"sent": 399, "suppressed": 1}, 10, running.describe)


@pytest.mark.parametrize("backend", ["postgresql"])
def test_a_silent_server_does_not_stretch_the_two_seconds(system: Callable[..., Running]) -> None:
    """Rows wait behind conversations that hang; once the campaign is paused none of them may start."""
    from tests.smtpd import Rule

    with SmtpServer([Rule("dot", delay=3.0)]) as server:
        running = system(server.url, PRESSRUN_SMTP_CONNECTIONS="2", PRESSRUN_BULK_PROCESSES="1")
        running.import_readers(60)
        running.emit(post_event())
        server.wait_for(lambda one: one.mails >= 2, 60)
        (campaign,) = running.status()["campaigns"]
        running.run("pause", str(campaign["id"]))
        paused_at = time.time()
        wait_until(lambda: running.counts()["sending"] == 0, 30, running.describe)
        # a conversation that ended at `at` was 3 s long
        assert [one for one in server.messages if one.at - 3.0 > paused_at + 2.0] == []
