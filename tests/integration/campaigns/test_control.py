"""An operator's hands: at once in effect, refused with what is allowed, and whole wherever it is cut short."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import update

from tests.integration.campaigns.readers import RULES, Room, add_readers, campaign, publish, set_status
from tests.ledger import Seeded, assert_counters_agree, seed_campaign, statuses
from worker.campaigns import progress
from worker.campaigns.control import Control
from worker.campaigns.opening import CampaignRules
from worker.domain.campaign import CampaignReason, CampaignStatus
from worker.domain.clock import FakeClock
from worker.domain.errors import Conflict, InvalidInput, NotFound
from worker.storage.database import Database
from worker.storage.models import CampaignRow, DeliveryRow


@pytest.fixture
def room(database: Database, clock: FakeClock) -> Room:
    return Room(database, clock, slots=1)


@pytest.fixture
def seeded(database: Database, clock: FakeClock) -> Seeded:
    return seed_campaign(database, clock.now(), 10)


def status_of(room: Room, campaign_id: int) -> tuple[str, str]:
    row = campaign(room.database, campaign_id)
    return row.status, row.reason


def untidy(room: Room) -> list[int]:
    with room.database.read() as connection:
        return progress.untidy(connection, room.clock.now())


def finished(room: Room) -> list[int]:
    with room.database.write() as connection:
        return progress.finish(connection, room.clock.now())


# -- pause and resume


def test_pause_and_resume(room: Room, seeded: Seeded) -> None:
    room.control.pause(seeded.campaign_id)
    assert status_of(room, seeded.campaign_id) == ("paused", "operator")
    room.control.resume(seeded.campaign_id)
    assert status_of(room, seeded.campaign_id) == ("sending", "")
    assert room.bell.rings == [("bulk", 0, 1, seeded.campaign_id)]
    assert statuses(room.database) == {"queued": 10}


def test_resume_goes_on_with_planning_where_rows_are_to_be_planned(room: Room, database: Database) -> None:
    add_readers(database, room.clock.now(), 3)
    opened = publish(database, room.clock.now())
    room.control.pause(opened.campaign_id)
    room.control.resume(opened.campaign_id)
    assert status_of(room, opened.campaign_id) == ("planning", "")
    assert room.bell.rings == [("plan", opened.campaign_id)]


def test_all_are_paused_and_resumed_but_what_is_held_stays_held(room: Room, database: Database) -> None:
    going = publish(database, room.clock.now(), rules=CampaignRules(1, None))
    held = publish(database, room.clock.now(), rules=CampaignRules(1, None), post_id="post-2")
    assert room.control.pause_all() == [going.campaign_id]
    assert room.control.resume_all() == [going.campaign_id]
    assert status_of(room, held.campaign_id) == ("paused", CampaignReason.HELD_RATE)
    room.control.resume(held.campaign_id)
    assert status_of(room, held.campaign_id)[0] == "planning"
    assert campaign(database, held.campaign_id).released_at == room.clock.now()


# -- what is not allowed


@pytest.mark.parametrize(
    ("status", "act", "allowed"),
    [
        ("paused", Control.pause, "resume, cancel or retry"),
        ("finished", Control.pause, "retry"),
        ("sending", Control.resume, "pause, cancel or retry"),
        ("cancelled", Control.resume, "retry --status cancelled"),
        ("finished", Control.cancel, "retry"),
        ("cancelled", Control.cancel, "retry --status cancelled"),
        ("failed", Control.pause, "retry or cancel"),
        ("cancelled", Control.retry, "retry --status cancelled"),
    ],
)
def test_what_cannot_be_done_says_what_can(
    room: Room, seeded: Seeded, status: str, act: Callable[[Control, int], object], allowed: str
) -> None:
    with room.database.write() as connection:
        connection.execute(update(CampaignRow).values(status=status))
    with pytest.raises(Conflict, match=f"campaign {seeded.campaign_id} is {status}.*allowed: {allowed}$"):
        act(room.control, seeded.campaign_id)
    assert campaign(room.database, seeded.campaign_id).status == status


@pytest.mark.parametrize("act", [Control.pause, Control.resume, Control.cancel, Control.retry])
def test_a_campaign_that_does_not_exist(room: Room, act: Callable[[Control, int], object]) -> None:
    with pytest.raises(NotFound, match="no campaign 4711"):
        act(room.control, 4711)


@pytest.mark.parametrize("wanted", [(), ("sent",), ("failed", "lost")])
def test_a_retry_of_what_cannot_be_retried_names_what_can(room: Room, seeded: Seeded, wanted: tuple[str, ...]) -> None:
    with pytest.raises(InvalidInput, match="allowed: failed, bounced, expired, unknown, suppressed, cancelled"):
        room.control.retry(seeded.campaign_id, wanted)


# -- cancel


def test_cancel_ends_what_was_not_sent(room: Room, seeded: Seeded) -> None:
    set_status(room.database, seeded.deliveries[:2], "sent")
    set_status(room.database, seeded.deliveries[2:4], "deferred", "temporary_reply", next_attempt_at=room.clock.now())
    room.control.cancel(seeded.campaign_id)
    assert status_of(room, seeded.campaign_id) == ("cancelled", "operator")
    assert room.bell.rings == [("tidy", seeded.campaign_id)]
    assert untidy(room) == [seeded.campaign_id]
    room.control.tidy(seeded.campaign_id)
    assert statuses(room.database) == {"sent": 2, "cancelled": 8}
    assert untidy(room) == []
    assert campaign(room.database, seeded.campaign_id).finished_at == room.clock.now()
    assert_counters_agree(room.database)


def test_what_was_being_sent_is_tidied_when_it_comes_back(room: Room, seeded: Seeded) -> None:
    set_status(room.database, seeded.deliveries[:1], "sending", lease_id=7)
    room.control.cancel(seeded.campaign_id)
    room.control.tidy(seeded.campaign_id)
    assert statuses(room.database) == {"sending": 1, "cancelled": 9}
    assert untidy(room) == [seeded.campaign_id]
    set_status(room.database, seeded.deliveries[:1], "deferred", "temporary_reply", lease_id=None)
    room.control.tidy(seeded.campaign_id)
    assert statuses(room.database) == {"cancelled": 10}
    assert untidy(room) == []
    assert_counters_agree(room.database)


def test_cancel_all_takes_held_ones_too(room: Room, database: Database) -> None:
    ids = [publish(database, room.clock.now(), post_id=f"post-{n}", rules=CampaignRules(1, None)) for n in range(2)]
    assert room.control.cancel_all() == [one.campaign_id for one in ids]


def test_tidying_takes_its_time_in_slices_and_rings_for_the_rest(database: Database) -> None:
    class TiringClock(FakeClock):
        def ticks(self) -> float:
            self.advance(seconds=0.1)
            return super().ticks()

    clock = TiringClock()
    room = Room(database, clock, slots=1)
    add_readers(database, clock.now(), 8000)
    opened = publish(database, clock.now())
    room.plan(opened.campaign_id)
    room.control.cancel(opened.campaign_id)
    room.bell.rings.clear()
    room.control.tidy(opened.campaign_id)
    assert ("tidy", opened.campaign_id) in room.bell.rings
    assert 0 < statuses(database)["queued"] < 8000
    assert_counters_agree(database)
    while untidy(room):
        room.control.tidy(opened.campaign_id)
    assert statuses(database) == {"cancelled": 8000}
    assert_counters_agree(database)


def test_tidying_what_is_tidy_does_nothing(room: Room, seeded: Seeded) -> None:
    room.control.tidy(seeded.campaign_id)
    room.control.tidy(4711)
    assert (statuses(room.database), room.bell.rings) == ({"queued": 10}, [])


# -- retry


def test_a_retry_gives_a_new_life(room: Room, seeded: Seeded) -> None:
    past = room.clock.now()
    set_status(
        room.database, seeded.deliveries[:3], "failed", "our_fault", attempts=5, first_attempt_at=past,
        last_attempt_at=past, claims=4,
    )  # fmt: skip
    set_status(room.database, seeded.deliveries[3:], "sent")
    assert finished(room) == [seeded.campaign_id]
    assert room.control.retry(seeded.campaign_id) == 3
    assert status_of(room, seeded.campaign_id) == ("sending", "")
    assert statuses(room.database) == {"queued": 3, "sent": 7}
    with room.database.read() as connection:
        columns = DeliveryRow.attempts, DeliveryRow.first_attempt_at, DeliveryRow.claims, DeliveryRow.reason
        rows = connection.execute(DeliveryRow.__table__.select().with_only_columns(*columns)).all()
    assert set(map(tuple, rows)) == {(0, None, 0, "")}
    assert room.bell.rings == [("bulk", 0, 1, seeded.campaign_id)]
    assert finished(room) == []
    assert_counters_agree(room.database)


def test_a_retry_of_several_statuses(room: Room, seeded: Seeded) -> None:
    for n, status in enumerate(("bounced", "expired", "unknown", "suppressed")):
        set_status(room.database, seeded.deliveries[n : n + 1], status)
    assert room.control.retry(seeded.campaign_id, ["bounced", "expired", "unknown", "suppressed"]) == 4
    assert statuses(room.database) == {"queued": 10}
    assert_counters_agree(room.database)


def test_a_retry_with_nothing_to_retry_leaves_a_finished_campaign_finished(room: Room, seeded: Seeded) -> None:
    set_status(room.database, seeded.deliveries, "sent")
    finished(room)
    assert room.control.retry(seeded.campaign_id) == 0
    assert status_of(room, seeded.campaign_id)[0] == "finished"


def test_a_paused_campaign_stays_paused_over_a_retry(room: Room, seeded: Seeded) -> None:
    set_status(room.database, seeded.deliveries, "failed")
    room.control.pause(seeded.campaign_id)
    assert room.control.retry(seeded.campaign_id) == 10
    assert status_of(room, seeded.campaign_id)[0] == "paused"
    assert room.bell.rings == []


def test_a_failed_campaign_is_planned_again(room: Room, database: Database) -> None:
    add_readers(database, room.clock.now(), 3)
    opened = publish(database, room.clock.now(), rules=RULES)
    with database.write() as connection:
        connection.execute(update(CampaignRow).values(status=CampaignStatus.FAILED, reason="body.html:1: no"))
    assert room.control.retry(opened.campaign_id) == 0
    assert room.bell.rings == [("plan", opened.campaign_id)]
    room.plan(opened.campaign_id)
    assert statuses(database) == {"queued": 3}


def test_a_campaign_that_failed_while_it_was_sent_goes_on(room: Room, seeded: Seeded) -> None:
    with room.database.write() as connection:
        connection.execute(update(CampaignRow).values(status=CampaignStatus.FAILED, reason="body.html:1: no"))
    room.control.retry(seeded.campaign_id)
    room.plan(seeded.campaign_id)
    assert status_of(room, seeded.campaign_id) == ("sending", "")
    assert statuses(room.database) == {"queued": 10}


def test_a_cancelled_campaign_comes_back_by_retrying_what_was_cancelled(room: Room, seeded: Seeded) -> None:
    set_status(room.database, seeded.deliveries[:4], "sent")
    room.control.cancel(seeded.campaign_id)
    room.control.tidy(seeded.campaign_id)
    assert room.control.retry(seeded.campaign_id, ["cancelled"]) == 6
    assert status_of(room, seeded.campaign_id) == ("sending", "")
    assert statuses(room.database) == {"sent": 4, "queued": 6}
    assert untidy(room) == []
    assert_counters_agree(room.database)
