"""The chain of bulk turns: the last one says that the campaign is over, without waiting for a sweep."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import Timer
from typing import cast

from sqlalchemy import insert, select

from tests.integration.campaigns.readers import set_status
from tests.ledger import seed_campaign
from tests.smtpd import Rule, SmtpServer
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


def test_the_last_turn_waits_for_mails_that_another_process_has_under_way(
    station: Callable[..., Station], database: Database
) -> None:
    with SmtpServer() as server:
        one = station(server.url, PRESSRUN_BULK_PROCESSES="1")
        now = datetime.now(UTC)
        seeded = seed_campaign(database, now, 10, post_id="first")
        with database.write() as connection:
            lease = {"owner": "elsewhere:1.journal", "claimed_at": now, "expires_at": now + timedelta(hours=1)}
            lease_id = connection.execute(insert(LeaseRow).values(lease).returning(LeaseRow.id)).scalar_one()
        set_status(database, seeded.deliveries[:1], "sending", lease_id=lease_id)
        timer = Timer(0.5, set_status, (database, seeded.deliveries[:1], "sent"), {"lease_id": None})
        timer.start()
        turn(one)
        timer.join()
        assert len(server.messages) == 9
    assert ends(database) == {"first": True}
