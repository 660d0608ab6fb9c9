"""The quick look of `pressrun status` says what the views over HTTP say, on both databases."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import insert, update

from worker.campaigns import glance_queries, progress
from worker.domain.clock import FakeClock
from worker.domain.delivery import DeliveryStatus, Kind
from worker.domain.errors import ConfigurationError, NotFound
from worker.storage.database import Database
from worker.storage.glance import looking
from worker.storage.models import CampaignRow, DeliveryRow, SliceRow, TallyRow


def _campaign(database: Database, clock: FakeClock, post: str, status: str, counts: dict[DeliveryStatus, int]) -> int:
    """A campaign with these tallies, and one delivery for each status that has any."""
    now = clock.now()
    with database.write() as connection:
        campaign: int = connection.execute(
            insert(CampaignRow).values(
                publication="daily", post_id=post, list_slug="posts", labels=[], post={}, status=status, reason="",
                created_at=now, released_at=now, planned_at=now, started_at=now - timedelta(seconds=10),
            ).returning(CampaignRow.id)
        ).scalar_one()  # fmt: skip
        place = {"publication": "daily", "kind": Kind.NEW_POST, "campaign_id": campaign}
        made = insert(SliceRow).values(**place, planned_at=now).returning(SliceRow.id)
        slice_id: int = connection.execute(made).scalar_one()
        for word, n in counts.items():
            connection.execute(insert(TallyRow).values(slice_id=slice_id, status=word, reason="", n=n))
            connection.execute(
                insert(DeliveryRow).values(
                    **place, slice_id=slice_id,
                    address="a@example.com", dedupe_key=f"{campaign}:{word}", status=word, created_at=now,
                )
            )  # fmt: skip
    clock.advance(seconds=7)
    return campaign


def test_it_is_the_same_picture(database: Database, database_url: str, clock: FakeClock) -> None:
    s = DeliveryStatus
    _campaign(database, clock, "old", "finished", {s.SENT: 5, s.BOUNCED: 1})
    _campaign(database, clock, "now", "sending", {s.SENT: 40, s.QUEUED: 60, s.DEFERRED: 2})
    last = _campaign(database, clock, "held", "paused", {s.QUEUED: 9})
    rests = _campaign(database, clock, "rests", "sending", {s.SENT: 5, s.QUEUED: 800})
    short = _campaign(database, clock, "short", "sending", {s.SENT: 5, s.QUEUED: 7})
    now = clock.now()
    with database.write() as connection:
        for campaign, rest in ((rests, timedelta(hours=3)), (short, timedelta(seconds=3))):
            connection.execute(update(CampaignRow).where(CampaignRow.id == campaign).values(rests_until=now + rest))
    with database.read() as connection:
        campaigns, queues = progress.list_campaigns(connection, now), progress.queue_view(connection, now)
        one = progress.campaign_view(connection, last, now)
    with looking(database_url) as ask:
        assert glance_queries.status(ask, now) == {"campaigns": campaigns, "queues": queues}
        assert glance_queries.status(ask, now, campaign_id=last)["campaigns"] == [one]
        with pytest.raises(NotFound, match="there is no campaign 999"):
            glance_queries.status(ask, now, campaign_id=999)
    # what waits for the next day of a warm-up is not late, and nobody knows how long it will be
    assert queues["bulk"]["depth"] == 60 + 7
    assert queues["bulk"]["oldest_s"] == 28.0
    assert {one["post"]: one["eta_s"] is None for one in campaigns} == {
        "old": True, "now": False, "held": True, "rests": True, "short": False,
    }  # fmt: skip


def test_an_empty_ledger(database_url: str, clock: FakeClock) -> None:
    with looking(database_url) as ask:
        found = glance_queries.status(ask, clock.now())
    lane = {"depth": 0, "oldest_s": 0.0}
    assert found == {"campaigns": [], "queues": {"transactional": lane, "bulk": lane}}


def test_a_database_without_tables_is_named_with_the_fix(empty_database_url: str, clock: FakeClock) -> None:
    Database(empty_database_url).close()
    with pytest.raises(ConfigurationError, match="run `pressrun db upgrade`"), looking(empty_database_url) as ask:
        glance_queries.status(ask, clock.now())
