"""Dead deliveries sent again: one or all, in bounded runs, without doubling anything."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import insert, select, update

from tests.integration.campaigns.readers import Room, campaign, set_status
from tests.ledger import Seeded, assert_counters_agree, seed_campaign, statuses
from worker.campaigns import progress
from worker.campaigns.replay import Replay
from worker.domain.campaign import CampaignStatus
from worker.domain.clock import FakeClock
from worker.domain.delivery import Kind
from worker.domain.errors import Conflict, InvalidInput, NotFound
from worker.storage.database import Database
from worker.storage.models import AttemptRow, CampaignRow, DeliveryRow, RetryRow
from worker.storage.outbox import Outgoing, put


class TiringClock(FakeClock):
    """Every look at it takes a while."""

    def ticks(self) -> float:
        self.advance(seconds=0.3)
        return super().ticks()


@pytest.fixture
def room(database: Database, clock: FakeClock) -> Room:
    return Room(database, clock, slots=1)


@pytest.fixture
def replay(room: Room) -> Replay:
    return Replay(room.database, room.clock, room.bell, room.chains, room.rests.append)


@pytest.fixture
def seeded(database: Database, clock: FakeClock) -> Seeded:
    return seed_campaign(database, clock.now(), 10)


def put_confirmation(database: Database, clock: FakeClock, n: int, expires: timedelta | None = None) -> int:
    now = clock.now()
    with database.write() as connection:
        made = put(connection, Outgoing(
            "daily", Kind.CONFIRMATION, f"r{n}@example.com", "", f"confirm:{n}", now + expires if expires else None
        ), now)  # fmt: skip
    assert made is not None
    return made


# -- one


def test_one_delivery_is_sent_again_and_keeps_what_it_was(room: Room, replay: Replay, seeded: Seeded) -> None:
    one, past = seeded.deliveries[0], room.clock.now()
    set_status(room.database, seeded.deliveries[1:], "sent")
    set_status(room.database, [one], "expired", "temporary_reply", attempts=9, first_attempt_at=past, claims=2)
    with room.database.write() as connection:
        tried = {"delivery_id": one, "at": past, "outcome": "temporary", "code": 451, "duration_ms": 1}
        connection.execute(insert(AttemptRow).values(tried))
        connection.execute(update(CampaignRow).values(status=CampaignStatus.FINISHED, finished_at=past))
    replay.again(one)
    with room.database.read() as connection:
        row = connection.execute(select(DeliveryRow.__table__).where(DeliveryRow.id == one)).one()
        kept = connection.execute(select(AttemptRow.code)).scalars().all()
    assert (row.status, row.reason, row.attempts, row.first_attempt_at) == ("queued", "", 0, None)
    assert row.dedupe_key == f"c:{seeded.campaign_id}:{seeded.subscribers[0]}"
    assert kept == [451]
    assert campaign(room.database, seeded.campaign_id).status == "sending"
    assert room.bell.rings == [("bulk", 0, 1, seeded.campaign_id)]
    assert_counters_agree(room.database)
    with pytest.raises(Conflict, match="is queued; what can be sent again: failed, bounced"):
        replay.again(one)


def test_one_of_a_paused_campaign_waits_with_it(room: Room, replay: Replay, seeded: Seeded) -> None:
    set_status(room.database, seeded.deliveries[:1], "failed", "our_fault")
    room.control.pause(seeded.campaign_id)
    replay.again(seeded.deliveries[0])
    assert room.bell.rings == []
    assert campaign(room.database, seeded.campaign_id).status == "paused"


@pytest.mark.parametrize(
    ("status", "words"), [("cancelled", "retry 1 --status cancelled"), ("failed", "mend what its reason names")]
)
def test_one_of_a_campaign_that_stands_still_says_what_to_do(
    room: Room, replay: Replay, seeded: Seeded, status: str, words: str
) -> None:
    set_status(room.database, seeded.deliveries[:1], "failed", "our_fault")
    with room.database.write() as connection:
        connection.execute(update(CampaignRow).values(status=status))
    with pytest.raises(Conflict, match=words):
        replay.again(seeded.deliveries[0])
    assert statuses(room.database)["failed"] == 1


def test_one_that_is_not_there(replay: Replay) -> None:
    with pytest.raises(NotFound, match="no delivery 4711"):
        replay.again(4711)


# -- transactional mail


def test_transactional_mail_is_sent_again_but_for_what_is_worthless(
    room: Room, replay: Replay, database: Database, clock: FakeClock
) -> None:
    good = [put_confirmation(database, clock, n, timedelta(hours=72)) for n in range(3)]
    over = put_confirmation(database, clock, 9, timedelta(hours=1))
    set_status(database, [*good, over], "failed", "our_fault")
    clock.advance(hours=2)
    done = replay.transactional(["failed"])
    assert (done.n, done.worthless, done.more) == (3, 1, False)
    assert statuses(database) == {"queued": 3, "failed": 1}
    assert room.bell.rings == [("transactional", good[0])]
    with pytest.raises(Conflict, match="the reader has to sign up again"):
        replay.again(over)
    set_status(database, good[:1], "unknown", "unknown_outcome")
    room.bell.rings.clear()
    replay.again(good[0])
    assert room.bell.rings == [("transactional", good[0])]
    assert_counters_agree(database)


def test_transactional_mail_of_one_publication_only(replay: Replay, database: Database, clock: FakeClock) -> None:
    set_status(database, [put_confirmation(database, clock, 1)], "failed")
    assert replay.transactional(["failed"], "weekly").n == 0
    assert replay.transactional(["failed"], "daily").n == 1
    with pytest.raises(InvalidInput, match="allowed: failed"):
        replay.transactional(["sent"])


# -- a campaign, in bounded runs


def many(database: Database, clock: FakeClock, n: int, status: str) -> Seeded:
    seeded = seed_campaign(database, clock.now(), n)
    set_status(database, seeded.deliveries, status, "our_fault")
    with database.write() as connection:
        connection.execute(update(CampaignRow).values(status=CampaignStatus.FINISHED, finished_at=clock.now()))
    return seeded


def test_a_retry_is_bounded_and_the_tidy_task_does_the_rest(database: Database) -> None:
    clock = TiringClock()
    room = Room(database, clock, slots=1)
    seeded = many(database, clock, 6000, "failed")
    first = room.control.retry(seeded.campaign_id, ["failed", "expired"])
    assert 0 < first < 6000
    assert statuses(database) == {"queued": first, "failed": 6000 - first}
    assert ("tidy", seeded.campaign_id) in room.bell.rings
    with database.read() as connection:
        assert progress.untidy(connection, clock.now()) == [seeded.campaign_id]
        view = progress.campaign_view(connection, seeded.campaign_id, clock.now())
    assert (view["status"], view["retrying"]) == ("sending", ["failed", "expired"])
    while statuses(database)["failed"]:
        room.control.tidy(seeded.campaign_id)
    room.control.finish_retry(seeded.campaign_id)
    with database.read() as connection:
        assert progress.untidy(connection, clock.now()) == []
        assert connection.execute(select(RetryRow)).all() == []
    assert_counters_agree(database)


def test_a_row_that_fails_again_meanwhile_is_not_taken_twice(database: Database) -> None:
    clock = TiringClock()
    room = Room(database, clock, slots=1)
    seeded = many(database, clock, 6000, "failed")
    total = room.control.retry(seeded.campaign_id)
    for _ in range(20):
        queued = [one for one in seeded.deliveries if one <= total]
        set_status(database, queued, "failed", "our_fault")
        total += room.control.tidy(seeded.campaign_id)
    assert total == 6000
    assert room.control.finish_retry(seeded.campaign_id) == 0


def test_a_campaign_is_not_finished_while_it_is_retried(database: Database) -> None:
    clock = TiringClock()
    room = Room(database, clock, slots=1)
    seeded = many(database, clock, 6000, "failed")
    moved = room.control.retry(seeded.campaign_id)
    set_status(database, seeded.deliveries[:moved], "sent")
    with database.write() as connection:
        assert progress.finish(connection, clock.now()) == []


def test_a_cancel_ends_a_retry(database: Database) -> None:
    clock = TiringClock()
    room = Room(database, clock, slots=1)
    seeded = many(database, clock, 6000, "failed")
    moved = room.control.retry(seeded.campaign_id)
    room.control.cancel(seeded.campaign_id)
    while statuses(database)["queued"]:
        room.control.tidy(seeded.campaign_id)
    room.control.tidy(seeded.campaign_id)
    assert statuses(database) == {"cancelled": moved, "failed": 6000 - moved}
    with database.read() as connection:
        assert progress.untidy(connection, clock.now()) == []
    assert_counters_agree(database)


def test_a_second_retry_joins_the_first(room: Room, database: Database, seeded: Seeded) -> None:
    set_status(database, seeded.deliveries[:4], "failed")
    set_status(database, seeded.deliveries[4:6], "bounced")
    with database.write() as connection:
        connection.execute(insert(RetryRow).values(
            campaign_id=seeded.campaign_id, statuses=["failed"], cursor=seeded.deliveries[1]
        ))  # fmt: skip
    assert room.control.retry(seeded.campaign_id, ["bounced", "failed"]) == 6
    assert statuses(database) == {"queued": 10}


# -- a campaign that failed


def test_a_failed_campaigns_rows_can_be_cancelled(room: Room, database: Database, seeded: Seeded) -> None:
    set_status(database, seeded.deliveries[:2], "sent")
    with database.write() as connection:
        connection.execute(update(CampaignRow).values(status=CampaignStatus.FAILED, reason="body.html:1: no"))
    room.control.cancel(seeded.campaign_id)
    room.control.tidy(seeded.campaign_id)
    assert statuses(database) == {"sent": 2, "cancelled": 8}
    with database.read() as connection:
        assert progress.untidy(connection, room.clock.now()) == []
    # and it can be taken up again, as any other
    assert room.control.retry(seeded.campaign_id, ["cancelled"]) == 8
    assert campaign(database, seeded.campaign_id).status == "sending"
    assert_counters_agree(database)
