"""The chain of bulk turns: the last one says that the campaign is over, without waiting for a sweep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from threading import Timer
from typing import cast

import pytest
from sqlalchemy import insert, select

from tests.integration.campaigns.readers import set_status
from tests.ledger import seed_campaign
from tests.smtpd import Rule, SmtpServer
from worker.campaigns import progress
from worker.domain.doorbell import RecordingDoorbell
from worker.station import Station
from worker.storage.database import Database
from worker.storage.models import CampaignRow, LeaseRow


def turn(station: Station) -> None:
    """Every turn that is rung for."""
    doorbell = station.system.doorbell
    assert isinstance(doorbell, RecordingDoorbell)
    station.system.slots.wake()
    while doorbell.rings:
        what, *ids = doorbell.rings.pop()
        assert what == "bulk"
        station.chain.run(*cast("list[int]", ids))


def ends(database: Database) -> dict[str, bool]:
    """{post: whether its campaign is finished}"""
    with database.read() as connection:
        rows = connection.execute(select(CampaignRow.post_id, CampaignRow.status, CampaignRow.finished_at)).all()
    assert all((row.status == "finished") == (row.finished_at is not None) for row in rows)
    return {row.post_id: row.finished_at is not None for row in rows}


def test_the_last_turn_finishes_the_campaign(station: Callable[..., Station], database: Database) -> None:
    with SmtpServer() as server:
        one = station(server.url, PRESSRUN_BULK_PROCESSES="1")
        seed_campaign(database, datetime.now(UTC), 30, post_id="first")
        seed_campaign(database, datetime.now(UTC), 20, post_id="second")
        turn(one)
        assert len(server.messages) == 50
    assert ends(database) == {"first": True, "second": True}


def test_what_is_left_for_later_keeps_it_open(station: Callable[..., Station], database: Database) -> None:
    with SmtpServer([Rule("rcpt", "451 4.3.0 later", rcpt="reader3.first@example.com")]) as server:
        one = station(server.url, PRESSRUN_BULK_PROCESSES="1")
        seed_campaign(database, datetime.now(UTC), 10, post_id="first")
        turn(one)
        assert len(server.messages) == 9
    assert ends(database) == {"first": False}


def one_is_under_way_elsewhere(database: Database) -> Sequence[int]:
    """Ten deliveries, of which another process has the first in a conversation."""
    now = datetime.now(UTC)
    seeded = seed_campaign(database, now, 10, post_id="first")
    with database.write() as connection:
        lease = {"owner": "elsewhere:1.journal", "claimed_at": now, "expires_at": now + timedelta(hours=1)}
        lease_id = connection.execute(insert(LeaseRow).values(lease).returning(LeaseRow.id)).scalar_one()
    set_status(database, seeded.deliveries[:1], "sending", lease_id=lease_id)
    return seeded.deliveries[:1]


def test_the_last_turn_waits_for_mails_that_another_process_has_under_way(
    station: Callable[..., Station], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient(monkeypatch)
    with SmtpServer() as server:
        one = station(server.url, PRESSRUN_BULK_PROCESSES="1")
        elsewhere = one_is_under_way_elsewhere(database)
        # when it is asked for, all of our own is written: `set_status` counts what it finds
        timer = Timer(0.3, set_status, (database, elsewhere, "sent"), {"lease_id": None})
        when_asked(monkeypatch, "nearly_over", timer.start)
        turn(one)
        timer.join()
        assert len(server.messages) == 9
    assert ends(database) == {"first": True}


# SQLite has one writer: nothing ends between two statements of another
@pytest.mark.parametrize("backend", ["postgresql"])
@pytest.mark.parametrize("question", ["nearly_over", "finish"])
def test_a_mail_that_ends_between_two_questions_of_the_last_turn_is_not_missed(
    station: Callable[..., Station], database: Database, monkeypatch: pytest.MonkeyPatch, question: str
) -> None:
    patient(monkeypatch)
    with SmtpServer() as server:
        one = station(server.url, PRESSRUN_BULK_PROCESSES="1")
        elsewhere = one_is_under_way_elsewhere(database)
        when_asked(monkeypatch, question, lambda: set_status(database, elsewhere, "sent", lease_id=None))
        turn(one)
    assert ends(database) == {"first": True}


def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine takes longer to write an end than a last turn waits for it."""
    monkeypatch.setattr("worker.station._LAST_MAILS_SECONDS", 60.0)
    monkeypatch.setattr("worker.delivery.bulk.DRAIN_SECONDS", 60.0)


def when_asked(monkeypatch: pytest.MonkeyPatch, question: str, then: Callable[[], object]) -> None:
    """What happens once, when a function of `progress` has answered for the first time."""
    asked, left = getattr(progress, question), [then]

    def and_then(*about: object) -> object:
        answer = asked(*about)
        if left:
            left.pop()()
        return answer

    monkeypatch.setattr(progress, question, and_then)
