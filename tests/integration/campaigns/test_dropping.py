"""Old deliveries go a campaign at a time: the rest is not touched, the counts stay, and nobody is written to again."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from datetime import timedelta
from multiprocessing import get_context

import pytest
from sqlalchemy import insert, select, text, update

from tests.integration.campaigns.readers import Room, add_readers, campaign, deliveries, publish, set_status
from tests.ledger import statuses, tallies
from worker.audit.tallies import wrong_slices
from worker.campaigns import drop_queries, progress, retrying
from worker.campaigns.dropping import Dropper
from worker.campaigns.opening import unpublish
from worker.campaigns.replay import Replay
from worker.delivery import view_queries
from worker.domain.campaign import CampaignReason, CampaignStatus
from worker.domain.clock import FakeClock, SystemClock
from worker.domain.delivery import DeliveryStatus
from worker.domain.errors import Conflict, NotFound
from worker.storage.database import Database
from worker.storage.models import AttemptRow, CampaignRow, DeliveryRow, SliceRow

KEPT = timedelta(days=400)


@pytest.fixture
def room(database: Database, clock: FakeClock) -> Room:
    add_readers(database, clock.now(), 20)
    return Room(database, clock)


def dropper(room: Room, rests: list[float] | None = None) -> Dropper:
    sleep = (rests if rests is not None else []).append
    return Dropper(room.database, room.clock, room.bell, KEPT, sleep)


def finished(room: Room, post_id: str, statuses: Sequence[str] = ("sent",), reason: str = "") -> int:
    """A campaign of all readers that is over, its deliveries at these statuses in turn, with an attempt each."""
    opened = publish(room.database, room.clock.now(), post_id=post_id)
    room.plan(opened.campaign_id)
    ids = deliveries(room.database, opened.campaign_id)
    for number, status in enumerate(statuses):
        set_status(room.database, ids[number :: len(statuses)], status)
    with room.database.write() as connection:
        at = {"at": room.clock.now(), "outcome": "temporary", "duration_ms": 1}
        connection.execute(insert(AttemptRow), [{"delivery_id": one, **at} for one in ids])
        values = {"status": CampaignStatus.FINISHED, "finished_at": room.clock.now(), "reason": reason}
        connection.execute(update(CampaignRow).where(CampaignRow.id == opened.campaign_id).values(values))
    return opened.campaign_id


def attempts(database: Database) -> int:
    with database.read() as connection:
        return len(connection.execute(select(AttemptRow.id)).all())


def counts(room: Room, campaign_id: int) -> object:
    with room.database.read() as connection:
        return progress.campaign_view(connection, campaign_id, room.clock.now())["counts"]


def listed(room: Room, campaign_id: int) -> int:
    with room.database.read() as connection:
        return len(view_queries.of_campaign(connection, campaign_id, None, 0, 1000))


def test_the_rows_go_the_counts_stay_and_the_rest_is_not_touched(room: Room) -> None:
    old, other = finished(room, "old", ("sent", "bounced", "failed")), finished(room, "other")
    assert dropper(room).outlook(old).deliveries == 20
    assert dropper(room).drop(old) == 20
    assert deliveries(room.database, old) == []
    assert len(deliveries(room.database, other)) == attempts(room.database) == 20
    assert counts(room, old) == {"bounced": 7, "failed": 6, "sent": 7}
    assert (listed(room, old), listed(room, other)) == (0, 20)
    assert dropper(room).outlook(old).deliveries == dropper(room).drop(old) == 0
    assert tallies(room.database) == {"sent": 27, "bounced": 7, "failed": 6}


@pytest.mark.parametrize("status", ["planning", "sending", "paused", "failed", "cancelled"])
def test_a_campaign_that_is_not_at_rest_keeps_them(room: Room, status: str) -> None:
    """A cancelled one whose rows are still to be moved among them."""
    campaign_id = finished(room, "post", ("sent", "queued"))
    with room.database.write() as connection:
        connection.execute(update(CampaignRow).values(status=status, finished_at=None))
    for act in (dropper(room).outlook, dropper(room).drop):
        with pytest.raises(Conflict, match=f"campaign {campaign_id} is {status} and may still need its deliveries"):
            act(campaign_id)
    dropper(room).run(campaign_id)
    assert statuses(room.database) == {"sent": 10, "queued": 10}
    with pytest.raises(NotFound, match="there is no campaign 4711"):
        dropper(room).drop(4711)


def test_it_rests_as_long_as_it_works(room: Room) -> None:
    class TiringClock(FakeClock):
        def ticks(self) -> float:
            self.advance(seconds=0.1)
            return super().ticks()

    old, rests = finished(room, "old"), list[float]()
    Dropper(room.database, TiringClock(room.clock.now()), room.bell, KEPT, rests.append).drop(old)
    assert rests
    assert all(rest == pytest.approx(0.1) for rest in rests)


# -- nobody is written to again


def republish(room: Room, post_id: str) -> tuple[bool, bool, str]:
    opened = publish(room.database, room.clock.now(), post_id=post_id)
    if opened.ring:
        room.plan(opened.campaign_id)
    if opened.tidy:
        room.control.tidy(opened.campaign_id)
    return opened.ring, opened.tidy, opened.note


def test_a_post_published_again_reaches_nobody_a_second_time(room: Room) -> None:
    old = finished(room, "old")
    dropper(room).drop(old)
    assert republish(room, "old") == (False, False, f"this post had campaign {old}, whose deliveries were dropped")
    assert deliveries(room.database, old) == []


def test_one_that_was_unpublished_half_way_is_not_resumed(room: Room) -> None:
    """Half planned, half sent, taken back: without its deliveries nobody knows who has got it."""
    opened = publish(room.database, room.clock.now(), post_id="half")
    with room.database.write() as connection:
        connection.execute(update(CampaignRow).values(plan_until=10))
    room.plan(opened.campaign_id)
    with room.database.write() as connection:
        connection.execute(update(CampaignRow).values(plan_until=20, status="planning", planned_at=None))
        unpublish(connection, "daily", "half", room.clock.now())
    room.control.tidy(opened.campaign_id)
    assert statuses(room.database) == {"cancelled": 10}
    dropper(room).drop(opened.campaign_id)
    assert republish(room, "half")[:2] == (False, False)
    assert deliveries(room.database, opened.campaign_id) == []
    row = campaign(room.database, opened.campaign_id)
    assert (row.status, row.reason, row.plan_cursor) == ("cancelled", CampaignReason.DROPPED, 20)


@pytest.mark.parametrize("status", ["finished", "cancelled"])
def test_a_retry_finds_it_closed(room: Room, status: str) -> None:
    old = finished(room, "old", ("failed", "cancelled"))
    with room.database.write() as connection:
        connection.execute(update(CampaignRow).values(status=status))
    dropper(room).drop(old)
    for chosen in (("failed",), ("cancelled",)):
        with pytest.raises(Conflict, match=f"the deliveries of campaign {old} were dropped"):
            room.control.retry(old, chosen)
    assert campaign(room.database, old).status == status


def cut_short(room: Room, campaign_id: int, at: int) -> None:
    """The power fails when so many rows are gone."""

    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drop_queries, "next_span", cut)
        with pytest.raises(KeyboardInterrupt):
            dropper(room).drop(campaign_id)
    with room.database.write() as connection:
        span = drop_queries.next_span(connection, campaign_id)
        assert span is not None
        drop_queries.drop_rows(connection, span, at)


def test_it_is_closed_before_the_first_row_goes(room: Room) -> None:
    """Cut short at any moment, what is left is as closed as what is gone."""
    old = finished(room, "old", ("failed",))
    cut_short(room, old, 1)
    assert campaign(room.database, old).reason == CampaignReason.DROPPED
    left = deliveries(room.database, old)
    assert len(left) == 19
    with pytest.raises(Conflict):
        room.control.retry(old)
    with pytest.raises(Conflict, match="its deliveries are being dropped"):
        Replay(room.database, room.clock, room.bell, room.chains).again(left[0])
    assert republish(room, "old")[:2] == (False, False)
    assert dropper(room).drop(old) == 19


def test_what_is_half_gone_is_no_wrong_count(room: Room) -> None:
    """The audit would "mend" the counts to what is left."""
    old = finished(room, "old", ("sent", "failed"))
    cut_short(room, old, 7)
    assert list(wrong_slices(room.database, room.clock.now() - KEPT)) == []
    dropper(room).drop(old)
    assert list(wrong_slices(room.database, room.clock.now() - KEPT)) == []
    assert counts(room, old) == {"failed": 10, "sent": 10}


def test_one_that_is_being_retried_is_not_over(room: Room, clock: FakeClock) -> None:
    """Between the command and its first rows the campaign is still called finished."""
    old = finished(room, "old", ("failed",))
    with room.database.write() as connection:
        retrying.begin(connection, old, [DeliveryStatus.FAILED])
    clock.advance(days=401)
    assert dropper(room).ring() == 0
    with pytest.raises(Conflict, match=f"campaign {old} is being retried"):
        dropper(room).drop(old)
    room.control.tidy(old)
    assert statuses(room.database) == {"queued": 20}


def test_ids_that_were_in_the_world_are_not_used_again(room: Room) -> None:
    """They are in Message-IDs and return paths: a late bounce must not meet another reader's mail."""
    old = finished(room, "old")
    last = max(deliveries(room.database, old))
    dropper(room).drop(old)
    assert min(deliveries(room.database, finished(room, "new"))) > last


# -- cut short


def _drop_forever(url: str, campaign_id: int) -> None:
    database = Database(url)
    room = Room(database, SystemClock())
    Dropper(database, room.clock, room.bell, KEPT, lambda _: time.sleep(0.01)).drop(campaign_id)


def test_a_kill_in_the_middle_loses_nothing_and_the_next_goes_on(database: Database) -> None:
    room = Room(database, SystemClock())
    add_readers(database, room.clock.now(), 6000)
    old, other = finished(room, "old"), finished(room, "other")
    url = database.url.render_as_string(hide_password=False)
    process = get_context("spawn").Process(target=_drop_forever, args=(url, old))
    process.start()
    deadline = time.monotonic() + 60
    while len(deliveries(database, old)) == 6000:
        assert time.monotonic() < deadline
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(30)
    left = len(deliveries(database, old))
    assert listed(room, old) == min(left, 1000)
    assert dropper(room).drop(old) == left
    assert (deliveries(database, old), len(deliveries(database, other))) == ([], 6000)
    assert attempts(database) == 6000
    assert tallies(database) == {"sent": 12_000}


def test_two_at_once_are_one(database: Database, room: Room) -> None:
    old = finished(room, "old")
    second = Database(database.url.render_as_string(hide_password=False))
    totals = []

    def other(_: int) -> None:
        totals.append(dropper(Room(second, room.clock)).drop(old))

    totals.append(dropper(room).drop(old, other))
    second.close()
    assert sum(totals) == 20
    assert statuses(database) == {}


# -- retention


def test_what_has_been_over_for_long_enough_goes_one_after_the_other(room: Room, clock: FakeClock) -> None:
    first, second = finished(room, "first"), finished(room, "second")
    clock.advance(days=100)
    young = finished(room, "young")
    one = dropper(room)
    assert one.ring() == 0
    clock.advance(days=301)
    room.bell.rings.clear()
    assert one.ring() == 1
    for campaign_id in (first, second):
        assert room.bell.rings == [("drop", campaign_id)]
        room.bell.rings.clear()
        one.run(campaign_id)
    assert room.bell.rings == []
    assert statuses(room.database) == {"sent": 20}
    assert len(deliveries(room.database, young)) == 20


def test_one_that_was_begun_is_gone_on_with_however_young(room: Room) -> None:
    old = finished(room, "old", reason=CampaignReason.DROPPED)
    assert dropper(room).ring() == 1
    assert room.bell.rings[-1] == ("drop", old)


def test_a_run_takes_its_time_and_rings_for_the_rest(database: Database) -> None:
    class TiringClock(FakeClock):
        def ticks(self) -> float:
            self.advance(seconds=0.1)
            return super().ticks()

    room = Room(database, TiringClock())
    add_readers(database, room.clock.now(), 12_000)
    old = finished(room, "old", reason=CampaignReason.DROPPED)
    room.bell.rings.clear()
    dropper(room).run(old)
    assert room.bell.rings == [("drop", old)]
    assert 0 < len(deliveries(database, old)) < 12_000
    while room.bell.rings:
        room.bell.rings.clear()
        dropper(room).run(old)
    assert deliveries(database, old) == []


def test_mail_of_others_between_its_ids_stays(room: Room) -> None:
    """On PostgreSQL two slices that are planned at once share a range of ids."""
    one, other = finished(room, "one"), finished(room, "other")
    with room.database.write() as connection:
        every = connection.execute(select(DeliveryRow.id).order_by(DeliveryRow.id)).scalars().all()
        connection.execute(update(SliceRow).values(first_id=every[0], last_id=every[-1]))
        mine, theirs = (
            connection.execute(select(SliceRow.id).where(SliceRow.campaign_id == campaign_id)).scalar_one()
            for campaign_id in (one, other)
        )
        # every second row changes hands
        swap = "UPDATE deliveries SET campaign_id = CASE id % 2 WHEN 0 THEN :one ELSE :other END, "
        swap += "slice_id = CASE id % 2 WHEN 0 THEN :mine ELSE :theirs END"
        connection.execute(text(swap), {"one": one, "other": other, "mine": mine, "theirs": theirs})
    expected = deliveries(room.database, other)
    assert dropper(room).drop(one) == 20
    assert deliveries(room.database, other) == expected
    assert attempts(room.database) == 20
