"""How far a campaign has come, by its counters; and when it has come to its end."""

from __future__ import annotations

import pytest

from tests.integration.campaigns.readers import Room, publish, set_status
from tests.ledger import seed_campaign
from worker.campaigns import progress
from worker.domain.campaign import CampaignStatus
from worker.domain.clock import FakeClock
from worker.domain.delivery import Kind
from worker.domain.errors import NotFound
from worker.storage.database import Database
from worker.storage.outbox import Outgoing, put


def test_a_campaign_as_it_is_shown(database: Database, clock: FakeClock) -> None:
    seeded = seed_campaign(database, clock.now(), 10)
    Room(database, clock, slots=1).chains.wake()
    set_status(database, seeded.deliveries[:4], "sent")
    set_status(database, seeded.deliveries[4:5], "deferred", "temporary_reply")
    clock.advance(seconds=2)
    with database.read() as connection:
        view = progress.campaign_view(connection, seeded.campaign_id, clock.now())
    assert view == {
        "id": seeded.campaign_id, "publication": "daily", "post": "post-1", "status": "sending", "reason": "",
        "counts": {"deferred": 1, "queued": 5, "sent": 4}, "planned": 10, "retrying": [],
        "created_at": "2025-02-09T14:00:00+00:00", "started_at": "2025-02-09T14:00:00+00:00", "finished_at": None,
        "rate": 2.0, "eta_s": 3.0,
    }  # fmt: skip


def test_a_campaign_that_has_not_begun_has_no_rate(database: Database, clock: FakeClock) -> None:
    opened = publish(database, clock.now())
    with database.read() as connection:
        view = progress.campaign_view(connection, opened.campaign_id, clock.now())
    assert (view["counts"], view["planned"], view["rate"], view["eta_s"]) == ({}, 0, None, None)


def test_a_campaign_that_does_not_exist(database: Database, clock: FakeClock) -> None:
    with database.read() as connection, pytest.raises(NotFound, match="no campaign 4711"):
        progress.campaign_view(connection, 4711, clock.now())


def test_campaigns_are_listed_the_newest_first(database: Database, clock: FakeClock) -> None:
    ids = [seed_campaign(database, clock.now(), n, post_id=f"post-{n}").campaign_id for n in range(1, 4)]
    done = seed_campaign(database, clock.now(), 1, post_id="done", status=CampaignStatus.FINISHED).campaign_id
    with database.read() as connection:
        listed = progress.list_campaigns(connection, clock.now())
        newest = progress.list_campaigns(connection, clock.now(), limit=2)
        going = progress.list_campaigns(connection, clock.now(), going_only=True)
    assert [one["id"] for one in listed] == [done, *reversed(ids)]
    assert [one["counts"] for one in listed[1:]] == [{"queued": 3}, {"queued": 2}, {"queued": 1}]
    assert [one["id"] for one in newest] == [done, ids[2]]
    assert [one["id"] for one in going] == list(reversed(ids))


def test_the_queues(database: Database, clock: FakeClock) -> None:
    with database.read() as connection:
        empty = progress.queue_view(connection, clock.now())
    assert empty == {"transactional": {"depth": 0, "oldest_s": 0.0}, "bulk": {"depth": 0, "oldest_s": 0.0}}
    seed_campaign(database, clock.now(), 3)
    seed_campaign(database, clock.now(), 5, post_id="paused", status=CampaignStatus.PAUSED)
    clock.advance(seconds=30)
    mail = Outgoing("daily", Kind.CONFIRMATION, "ana@example.com", "", "k:1", None)
    with database.write() as connection:
        put(connection, mail, clock.now())
    clock.advance(seconds=12)
    with database.read() as connection:
        queues = progress.queue_view(connection, clock.now())
    assert queues == {"transactional": {"depth": 1, "oldest_s": 12.0}, "bulk": {"depth": 3, "oldest_s": 42.0}}


@pytest.mark.parametrize("waiting", ["queued", "deferred", "sending"])
def test_a_campaign_is_finished_when_nothing_of_it_is_open(
    database: Database, clock: FakeClock, waiting: str
) -> None:
    seeded = seed_campaign(database, clock.now(), 3)
    set_status(database, seeded.deliveries, "sent")
    set_status(database, seeded.deliveries[:1], waiting, lease_id=1 if waiting == "sending" else None)
    with database.write() as connection:
        assert progress.finish(connection, clock.now()) == []
    set_status(database, seeded.deliveries[:1], "bounced", lease_id=None)
    with database.write() as connection:
        assert progress.finish(connection, clock.now()) == [seeded.campaign_id]
        assert progress.finish(connection, clock.now()) == []
        view = progress.campaign_view(connection, seeded.campaign_id, clock.now())
    assert (view["status"], view["finished_at"]) == ("finished", clock.now().isoformat())


def test_a_campaign_that_is_still_planned_or_paused_is_not_finished(database: Database, clock: FakeClock) -> None:
    publish(database, clock.now(), post_id="planning")
    seed_campaign(database, clock.now(), 0, status=CampaignStatus.PAUSED)
    with database.write() as connection:
        assert progress.finish(connection, clock.now()) == []


def test_the_sweep_finds_what_is_not_planned_once_its_own_ring_had_its_time(
    database: Database, clock: FakeClock
) -> None:
    opened = publish(database, clock.now())
    with database.read() as connection:
        assert progress.unplanned(connection, clock.now()) == []
    clock.advance(seconds=6)
    with database.read() as connection:
        assert progress.unplanned(connection, clock.now()) == [opened.campaign_id]
