"""Planning: every reader once, whoever plans, however often, and wherever it is cut short."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from multiprocessing import get_context

import pytest
from sqlalchemy import select, text, update

from tests.integration.campaigns.readers import (
    DAILY,
    GROUPS,
    Room,
    add_readers,
    campaign,
    deliveries,
    publish,
    slices,
)
from tests.ledger import assert_counters_agree, statuses
from tests.running import wait_until
from worker.audience.addresses import parse_address
from worker.audience.erase import erase
from worker.campaigns import queries
from worker.campaigns.plan_queries import Audience
from worker.campaigns.planning import plan_slice
from worker.domain.audience import SubscriptionStatus
from worker.domain.campaign import CampaignStatus
from worker.domain.clock import FakeClock, SystemClock
from worker.domain.errors import PermanentError, TemplateFault
from worker.storage.database import Database
from worker.storage.models import CampaignRow, DeliveryRow, SubscriberRow


class TiringClock(FakeClock):
    """Every look at it takes a tenth of a second."""

    def ticks(self) -> float:
        self.advance(seconds=0.1)
        return super().ticks()


def audience(row: queries.AnyRow, database: Database) -> Audience:
    return Audience(row, GROUPS, sqlite_database=database.is_sqlite)


def test_each_active_reader_of_the_list_gets_one_delivery(database: Database, clock: FakeClock) -> None:
    readers = add_readers(database, clock.now(), 7)
    add_readers(database, clock.now(), 2, status=SubscriptionStatus.PENDING, prefix="pending")
    add_readers(database, clock.now(), 2, status=SubscriptionStatus.UNSUBSCRIBED, prefix="gone")
    add_readers(database, clock.now(), 2, list_slug="offers", prefix="other")
    add_readers(database, clock.now(), 2, publication="weekly", prefix="foreign")
    opened = publish(database, clock.now())
    Room(database, clock).plan(opened.campaign_id)
    with database.read() as connection:
        rows = connection.execute(select(
            DeliveryRow.subscriber_id, DeliveryRow.address, DeliveryRow.destination, DeliveryRow.dedupe_key,
            DeliveryRow.kind, DeliveryRow.created_at,
        ).order_by(DeliveryRow.id)).all()  # fmt: skip
    assert [row.subscriber_id for row in rows] == readers
    assert [row.destination for row in rows[:3]] == ["google", "yahoo", ""]
    assert rows[0].address == "Reader0@gmail.com"
    assert rows[0].dedupe_key == f"c:{opened.campaign_id}:{readers[0]}"
    assert (rows[0].kind, rows[0].created_at) == ("new_post", clock.now())
    row = campaign(database, opened.campaign_id)
    assert (row.status, row.planned_at) == (CampaignStatus.SENDING, clock.now())
    assert_counters_agree(database)


def test_who_joins_after_the_post_is_not_written_to(database: Database, clock: FakeClock) -> None:
    add_readers(database, clock.now(), 3)
    opened = publish(database, clock.now())
    add_readers(database, clock.now(), 3, prefix="late")
    Room(database, clock).plan(opened.campaign_id)
    assert len(deliveries(database, opened.campaign_id)) == 3


def test_an_erased_reader_is_passed_over(database: Database, clock: FakeClock) -> None:
    readers = add_readers(database, clock.now(), 3)
    with database.write() as connection:
        connection.execute(update(SubscriberRow).where(SubscriberRow.id == readers[0]).values(erased_at=clock.now()))
    opened = publish(database, clock.now())
    Room(database, clock).plan(opened.campaign_id)
    assert len(deliveries(database, opened.campaign_id)) == 2


def test_labels_cut_the_audience_down_to_who_has_any_of_them(database: Database, clock: FakeClock) -> None:
    add_readers(database, clock.now(), 300)
    both = add_readers(database, clock.now(), 2, labels=["gold", "silver"], prefix="both")
    gold = add_readers(database, clock.now(), 2, labels=["gold"], prefix="gold")
    add_readers(database, clock.now(), 2, labels=["iron"], prefix="iron")
    opened = publish(database, clock.now(), labels=["gold", "silver"])
    Room(database, clock).plan(opened.campaign_id)
    with database.read() as connection:
        planned = list(connection.execute(select(DeliveryRow.subscriber_id).order_by(DeliveryRow.id)).scalars())
    assert planned == [*both, *gold]
    assert_counters_agree(database)


def test_slices_without_a_reader_leave_no_counter(database: Database, clock: FakeClock) -> None:
    add_readers(database, clock.now(), 450)
    add_readers(database, clock.now(), 1, labels=["gold"], prefix="gold")
    opened = publish(database, clock.now(), labels=["gold"])
    Room(database, clock).plan(opened.campaign_id)
    assert slices(database, opened.campaign_id) == 1


def test_an_audience_of_nobody_is_finished_at_once(database: Database, clock: FakeClock) -> None:
    opened = publish(database, clock.now())
    Room(database, clock).plan(opened.campaign_id)
    row = campaign(database, opened.campaign_id)
    assert (row.status, row.finished_at) == (CampaignStatus.FINISHED, clock.now())


def test_the_first_mails_may_go_before_the_last_row_is_planned(database: Database) -> None:
    clock = TiringClock()
    add_readers(database, clock.now(), 6000)
    opened = publish(database, clock.now())
    room = Room(database, clock, slots=1)
    room.planner().run(opened.campaign_id)
    assert campaign(database, opened.campaign_id).status == CampaignStatus.PLANNING
    assert room.bell.rings[0] == ("bulk", 0, 1, opened.campaign_id)
    assert room.bell.rings[-1] == ("plan", opened.campaign_id)
    assert 0 < len(deliveries(database, opened.campaign_id)) < 6000
    room.plan(opened.campaign_id)
    assert statuses(database) == {"queued": 6000}
    assert_counters_agree(database)


def test_the_planner_rests_where_somebody_waits_to_write(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = TiringClock()
    add_readers(database, clock.now(), 600)
    opened = publish(database, clock.now())
    room = Room(database, clock)
    room.planner().run(opened.campaign_id)
    assert room.rests == []
    other = publish(database, clock.now(), post_id="post-2")
    monkeypatch.setattr(database, "has_waiters", lambda: True)
    room.planner().run(other.campaign_id)
    assert room.rests
    assert all(rest == pytest.approx(0.1) for rest in room.rests)


def test_a_slice_planned_twice_adds_nothing(database: Database, clock: FakeClock) -> None:
    add_readers(database, clock.now(), 5)
    opened = publish(database, clock.now())
    for _ in range(2):
        with database.write() as connection:
            row = queries.lock(connection, opened.campaign_id)
            assert row is not None
            plan_slice(connection, row, audience(row, database), 3, clock.now())
            # as if the cursor had been lost
            queries.change(connection, opened.campaign_id, {"plan_cursor": 0})
    Room(database, clock).plan(opened.campaign_id)
    assert statuses(database) == {"queued": 5}
    assert_counters_agree(database)


def test_two_planners_at_once_plan_everybody_once(database: Database) -> None:
    clock = SystemClock()
    add_readers(database, clock.now(), 4000)
    opened = publish(database, clock.now())
    start = threading.Barrier(3)

    def run() -> None:
        own = Database(database.url.render_as_string(hide_password=False))
        start.wait()
        Room(own, clock).plan(opened.campaign_id)
        own.close()

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert campaign(database, opened.campaign_id).status == CampaignStatus.SENDING
    assert statuses(database) == {"queued": 4000}
    assert_counters_agree(database)


def test_who_is_erased_while_a_slice_is_planned_is_not_in_it(database: Database, clock: FakeClock) -> None:
    """The slice's statement began before: on PostgreSQL neither would see the other."""
    add_readers(database, clock.now(), 5)
    opened = publish(database, clock.now())
    planner = Room(database, clock).planner()

    def run() -> None:
        with database.write() as connection:
            erase(connection, parse_address("reader3@gmail.com"), clock.now())

    erasing = threading.Thread(target=run)
    with database.write() as connection:
        row = queries.head(connection, opened.campaign_id)
        assert row is not None
        planner._slice(connection, opened.campaign_id, audience(row, database), 10, None)
        erasing.start()
        wait_until(lambda: _somebody_waits(database) or not erasing.is_alive(), 30)
    erasing.join(30)
    with database.read() as connection:
        rows = connection.execute(select(DeliveryRow.address, DeliveryRow.status).order_by(DeliveryRow.id)).all()
    assert [tuple(row) for row in rows if row.status != "queued"] == [("", "cancelled")]
    assert len(rows) == 5
    assert_counters_agree(database)


def _somebody_waits(database: Database) -> bool:
    if database.is_sqlite:
        return database.has_waiters()
    with database.read() as connection:
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        return bool(connection.execute(text(waiting)).scalar_one())


def test_a_planner_too_many_leaves(database: Database) -> None:
    """Otherwise each ring of the sweep would start one more that rings for itself."""
    clock = TiringClock()
    add_readers(database, clock.now(), 3000)
    opened = publish(database, clock.now())
    room, other = Room(database, clock), Room(database, clock)
    planner = room.planner()

    class Overtaken:
        """After the first slice, somebody else plans one."""

        def wake(self) -> int:
            with database.write() as connection:
                row = queries.lock(connection, opened.campaign_id)
                assert row is not None
                plan_slice(connection, row, audience(row, database), 10, clock.now())
            return 0

    planner._slots = Overtaken()  # type: ignore[assignment]
    planner.run(opened.campaign_id)
    assert room.bell.rings == []
    other.plan(opened.campaign_id)
    assert statuses(database) == {"queued": 3000}


def _plan_forever(url: str, campaign_id: int) -> None:
    database = Database(url)
    Room(database, SystemClock()).plan(campaign_id)


def test_a_planner_killed_in_mid_slice_loses_nothing(database: Database) -> None:
    clock = SystemClock()
    add_readers(database, clock.now(), 20_000)
    opened = publish(database, clock.now())
    url = database.url.render_as_string(hide_password=False)
    for _ in range(3):
        process = get_context("spawn").Process(target=_plan_forever, args=(url, opened.campaign_id))
        process.start()
        _wait_for_progress(database, opened.campaign_id)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join(30)
        assert_counters_agree(database)
    Room(database, clock).plan(opened.campaign_id)
    assert statuses(database) == {"queued": 20_000}
    assert_counters_agree(database)


def _wait_for_progress(database: Database, campaign_id: int) -> None:
    """Until the cursor has moved on, or there is nothing left to move."""
    before, deadline = campaign(database, campaign_id).plan_cursor, time.monotonic() + 60
    while time.monotonic() < deadline:
        row = campaign(database, campaign_id)
        if row.plan_cursor > before or row.status != CampaignStatus.PLANNING:
            return
    raise AssertionError("the planner did nothing")


class TooLarge(PermanentError):
    pass


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (TemplateFault("templates/email/new_post/body.html", 12, "unknown field"), "new_post/body.html:12: unknown"),
        (TooLarge("the mail has 120 KB; cut the body"), "120 KB"),
    ],
)
def test_a_mail_that_cannot_be_made_fails_the_campaign_before_the_first_row(
    database: Database, clock: FakeClock, fault: Exception, message: str
) -> None:
    add_readers(database, clock.now(), 3)
    opened = publish(database, clock.now())

    def check(publication: object, post: object, list_slug: str) -> None:
        assert (publication, list_slug) == (DAILY, "posts")
        raise fault

    Room(database, clock).planner(check).run(opened.campaign_id)
    row = campaign(database, opened.campaign_id)
    assert row.status == CampaignStatus.FAILED
    assert message in row.reason
    assert deliveries(database, opened.campaign_id) == []


def test_a_publication_that_is_gone_fails_the_campaign_by_name(database: Database, clock: FakeClock) -> None:
    opened = publish(database, clock.now())
    with database.write() as connection:
        connection.execute(update(CampaignRow).values(publication="gone"))
    Room(database, clock).planner().run(opened.campaign_id)
    row = campaign(database, opened.campaign_id)
    assert row.status == CampaignStatus.FAILED
    assert "publication gone" in row.reason


@pytest.mark.parametrize("status", ["paused", "cancelled", "sending", "finished", "failed"])
def test_what_is_not_being_planned_is_left_alone(database: Database, clock: FakeClock, status: str) -> None:
    add_readers(database, clock.now(), 3)
    opened = publish(database, clock.now())
    with database.write() as connection:
        connection.execute(update(CampaignRow).values(status=status))
    room = Room(database, clock)
    room.planner().run(opened.campaign_id)
    assert (deliveries(database, opened.campaign_id), room.bell.rings) == ([], [])


def test_a_campaign_that_does_not_exist_is_left_alone(database: Database, clock: FakeClock) -> None:
    Room(database, clock).planner().run(4711)


@pytest.mark.parametrize("backend", ["sqlite"])
def test_the_walk_over_the_audience_reads_its_index_only(database: Database, clock: FakeClock) -> None:
    add_readers(database, clock.now(), 3)
    publish(database, clock.now())
    with database.read() as connection:
        plan = connection.execute(text(
            "EXPLAIN QUERY PLAN SELECT id FROM subscriptions WHERE publication = 'daily' AND list_slug = 'posts' "
            "AND status = 'active' AND id > 0 AND id <= 9 ORDER BY id LIMIT 1 OFFSET 2"
        )).all()  # fmt: skip
    assert Counter("ix_subscriptions_audience" in row[-1] for row in plan) == {True: 1}
