"""A campaign's rows by id, through its slices: each once, whatever lies between and wherever a page ends."""

from __future__ import annotations

import random

import pytest
from sqlalchemy import select, update

from tests.integration.campaigns.readers import Room, add_readers, publish, set_status
from worker.campaigns import queries
from worker.campaigns.plan_queries import Audience
from worker.campaigns.planning import plan_slice
from worker.delivery import view_queries
from worker.domain.clock import FakeClock
from worker.domain.delivery import DeliveryStatus, Reason
from worker.storage.database import Database
from worker.storage.models import DeliveryRow, SliceRow

_READERS, _SLICE = 90, 7
# leased ones are another matter
_STATUSES = [one for one in DeliveryStatus if one is not DeliveryStatus.SENDING]


@pytest.fixture
def campaigns(database: Database, clock: FakeClock) -> tuple[int, int]:
    """Two that were planned at the same time, slice by slice in turn; then a bit of everything became of them."""
    add_readers(database, clock.now(), _READERS)
    ids = [publish(database, clock.now(), post_id=f"post-{n}").campaign_id for n in range(2)]
    while True:
        with database.write() as connection:
            rows = [row for one in ids if (row := queries.lock(connection, one)) and row.status == "planning"]
            if not rows:
                break
            for row in rows:
                audience = Audience(row, (), sqlite_database=database.is_sqlite)
                plan_slice(connection, row, audience, _SLICE, clock.now())
    dice = random.Random(7)
    for one in range(1, 2 * _READERS + 1):
        if dice.random() < 0.6:
            set_status(database, [one], dice.choice(_STATUSES))
    return ids[0], ids[1]


def expected(database: Database, campaign_id: int, status: str | None, after: int) -> list[int]:
    with database.read() as connection:
        rows = connection.execute(select(DeliveryRow.id, DeliveryRow.campaign_id, DeliveryRow.status)).all()
    chosen = [row.id for row in rows if row.campaign_id == campaign_id and status in (None, row.status)]
    return sorted(one for one in chosen if one > after)


def test_every_page_of_every_list(database: Database, campaigns: tuple[int, int]) -> None:
    dice = random.Random(8)
    with database.read() as connection:
        for campaign_id in campaigns:
            for status in (None, *_STATUSES):
                for after in (0, 1, *(dice.randrange(2 * _READERS) for _ in range(5)), 10**12):
                    wanted = expected(database, campaign_id, status, after)
                    for limit in (1, 2, _SLICE, 50, 1000):
                        found = view_queries.of_campaign(connection, campaign_id, status, after, limit)
                        assert [row.id for row in found] == wanted[:limit], (status, after, limit)


def test_rows_are_taken_lot_by_lot_until_there_are_no_more(database: Database, campaigns: tuple[int, int]) -> None:
    one, _ = campaigns
    for status in (DeliveryStatus.QUEUED, DeliveryStatus.CANCELLED):
        after, taken = 0, list[int]()
        with database.write() as connection:
            while rows := queries.take_rows(connection, one, status, Reason.NONE, after, 5):
                taken += [row.id for row in rows]
                after = rows[-1].id
        assert taken == expected(database, one, status, 0)


@pytest.mark.parametrize("backend", ["postgresql"])
def test_a_slice_whose_rows_are_all_being_moved_is_passed_over(
    database: Database, campaigns: tuple[int, int]
) -> None:
    one, _ = campaigns
    wanted = expected(database, one, "queued", 0)
    second = Database(database.url.render_as_string(hide_password=False))
    with database.write() as connection:
        first = queries.take_rows(connection, one, DeliveryStatus.QUEUED, None, 0, 1000)
        with second.write() as other:
            rows = queries.take_rows(other, one, DeliveryStatus.QUEUED, None, 0, 1000)
    second.close()
    assert [row.id for row in (*first, *rows)] == wanted[: len(first) + len(rows)]


def test_planned_slices_know_their_rows(database: Database, clock: FakeClock, campaigns: tuple[int, int]) -> None:
    with database.read() as connection:
        rows = connection.execute(select(DeliveryRow.id, DeliveryRow.slice_id).order_by(DeliveryRow.id)).all()
        slices = connection.execute(select(SliceRow.id, SliceRow.first_id, SliceRow.last_id, SliceRow.planned_at)).all()
    for one in slices:
        ids = [row.id for row in rows if row.slice_id == one.id]
        assert (one.first_id, one.last_id, one.planned_at) == (ids[0], ids[-1], clock.now())


def test_whoever_was_planned_before_makes_no_slice(database: Database, clock: FakeClock) -> None:
    """As after a cursor that was lost: the dedupe keys are there, so there is nothing to count."""
    add_readers(database, clock.now(), 5)
    opened = publish(database, clock.now())
    room = Room(database, clock)
    room.plan(opened.campaign_id)
    with database.write() as connection:
        connection.execute(update(SliceRow).values(planned_at=None))
        queries.change(connection, opened.campaign_id, {"plan_cursor": 0, "status": "planning"})
    room.plan(opened.campaign_id)
    with database.read() as connection:
        assert connection.execute(select(SliceRow.planned_at)).all() == [(None,)]
