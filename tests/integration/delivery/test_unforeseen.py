"""A mail whose making breaks as nobody foresaw: it ends by itself, with the reason; the rest goes on."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest
from billiard.exceptions import SoftTimeLimitExceeded
from sqlalchemy import select, update

from tests.ledger import assert_counters_agree, seed_campaign, statuses
from tests.smtpd import SmtpServer
from worker.domain.delivery import Kind
from worker.rendering import post_context
from worker.station import Station
from worker.storage.database import Database
from worker.storage.models import CampaignRow, DeliveryRow
from worker.storage.outbox import Outgoing, put

WHY = "a fault of ours: making the mail broke (ValueError('Exceeds the limit (4300 digits)'))"


@pytest.fixture
def breaks_for_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    left = [ValueError("Exceeds the limit (4300 digits)")]

    def breaks_once(*about: object, **more: object) -> object:
        if left:
            raise left.pop()
        return post_context(*about, **more)  # type: ignore[arg-type]

    # where a planner looks first, and where mails are made
    for place in "worker.bootstrap", "worker.delivery.composing":
        monkeypatch.setattr(f"{place}.post_context", breaks_once)


def end_of(database: Database, campaign_id: int) -> str:
    with database.read() as connection:
        row = connection.execute(select(CampaignRow).where(CampaignRow.id == campaign_id)).one()
    assert row.status == "failed"
    return str(row.reason)


@pytest.mark.usefixtures("breaks_for_the_first")
def test_it_fails_the_campaign_before_it_is_planned(station: Callable[..., Station], database: Database) -> None:
    one = station("smtp://127.0.0.1:1")
    seeded = seed_campaign(database, one.system.clock.now(), 0)
    with database.write() as connection:
        connection.execute(update(CampaignRow).values(status="planning", planned_at=None))
    one.system.planner.run(seeded.campaign_id)
    assert end_of(database, seeded.campaign_id).startswith(WHY)


@pytest.mark.usefixtures("breaks_for_the_first")
def test_it_fails_the_campaign_that_is_being_sent(station: Callable[..., Station], database: Database) -> None:
    one = station("smtp://127.0.0.1:1")
    seeded = seed_campaign(database, one.system.clock.now(), 3)
    one.bulk.turn(seeded.campaign_id)
    assert end_of(database, seeded.campaign_id).startswith(WHY)
    assert statuses(database) == {"queued": 3}


@pytest.mark.usefixtures("breaks_for_the_first")
def test_a_single_mail_fails_and_the_one_behind_it_goes(station: Callable[..., Station], database: Database) -> None:
    with SmtpServer() as server:
        one = station(server.url)
        now = one.system.clock.now()
        for post in "a", "b":
            shows = seed_campaign(database, now, 0, post_id=post).campaign_id
            with database.write() as connection:
                to = f"{post}@one.example"
                put(connection, Outgoing("daily", Kind.TEST, to, "", post, None, shows_campaign_id=shows), now)
        # a busy machine may not get to the second in time, and it goes back
        while "queued" in statuses(database):
            one.transactional.run()
            one.press.drain(20)
        assert [message.rcpt for message in server.messages] == ["b@one.example"]
    assert statuses(database) == {"failed": 1, "sent": 1}
    with database.read() as connection:
        reply = connection.execute(select(DeliveryRow.reply).where(DeliveryRow.status == "failed")).scalar_one()
    assert reply.startswith(WHY)
    assert_counters_agree(database)


@pytest.mark.parametrize(
    "fault", [MemoryError(), OSError(errno.EMFILE, "too many open files"), SoftTimeLimitExceeded()]
)
def test_what_may_pass_is_tried_again(
    station: Callable[..., Station], database: Database, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    """It says nothing about the mail: not while it is rendered, nor while it is inlined, nor before."""

    def raises(*_: object, **__: object) -> None:
        raise fault

    with SmtpServer() as server:
        one = station(server.url)
        seeded = seed_campaign(database, one.system.clock.now(), 3)
        for place in (
            "jinja2.Environment.get_template", "worker.rendering.source.inline_css",
            "worker.delivery.composing.post_context",
        ):  # fmt: skip
            with monkeypatch.context() as patch:
                patch.setattr(place, raises)
                with pytest.raises(type(fault)):
                    one.bulk.turn(seeded.campaign_id)
            assert statuses(database) == {"queued": 3}
        one.bulk.turn(seeded.campaign_id)
        one.press.drain(20)
    assert statuses(database) == {"sent": 3}
