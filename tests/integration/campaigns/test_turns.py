"""Turns go round by publication, then campaign; chains survive doubles, losses and each other."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from sqlalchemy import event, select, text, update

from tests.integration.campaigns.readers import Room, campaign, set_status
from tests.ledger import seed_campaign
from worker.campaigns import turns
from worker.campaigns.turns import Turn
from worker.domain.campaign import CampaignStatus
from worker.domain.clock import FakeClock
from worker.storage import ledger
from worker.storage.database import Database
from worker.storage.models import CampaignRow


def choose(database: Database, clock: FakeClock) -> int | None:
    clock.advance(seconds=1)
    with database.write() as connection:
        return turns.choose(connection, clock.now())


def wake(database: Database, clock: FakeClock, slots: int) -> list[Turn]:
    with database.write() as connection:
        return turns.wake(connection, slots, clock.now())


def begin(database: Database, clock: FakeClock, turn: Turn) -> bool:
    with database.write() as connection:
        return turns.begin(connection, turn.slot, turn.number, clock.now())


def end(database: Database, clock: FakeClock, turn: Turn, rest: float = 0) -> Turn | None:
    with database.write() as connection:
        return turns.next_turn(connection, turn, clock.now(), timedelta(seconds=rest))


def seed(database: Database, clock: FakeClock, post_id: str, publication: str = "daily") -> int:
    return seed_campaign(database, clock.now(), 2, post_id=post_id, publication=publication).campaign_id


# -- whose turn it is


def test_turns_go_round_by_publication_then_campaign(database: Database, clock: FakeClock) -> None:
    first, second, third = (seed(database, clock, f"daily-{n}") for n in range(3))
    weekly = seed(database, clock, "weekly-1", "weekly")
    assert [choose(database, clock) for _ in range(6)] == [first, weekly, second, weekly, third, weekly]


def test_many_small_campaigns_are_not_first_each_time(database: Database, clock: FakeClock) -> None:
    """A finished one counts as a turn of its publication too."""
    small = [seed(database, clock, f"daily-{n}") for n in range(3)]
    weekly = seed(database, clock, "weekly-1", "weekly")
    assert choose(database, clock) == small[0]
    with database.write() as connection:
        finished = update(CampaignRow).where(CampaignRow.id == small[0])
        connection.execute(finished.values(status=CampaignStatus.FINISHED))
    assert choose(database, clock) == weekly
    assert choose(database, clock) == small[1]


@pytest.mark.parametrize("status", ["paused", "cancelled", "failed", "finished"])
def test_only_campaigns_that_are_going_have_a_turn(database: Database, clock: FakeClock, status: str) -> None:
    seed_campaign(database, clock.now(), 2, status=CampaignStatus(status))
    assert choose(database, clock) is None


def test_a_campaign_without_queued_rows_has_no_turn(database: Database, clock: FakeClock) -> None:
    seeded = seed_campaign(database, clock.now(), 2)
    set_status(database, seeded.deliveries, "deferred")
    assert choose(database, clock) is None


def test_a_turn_is_noted_with_the_first_ones_time(database: Database, clock: FakeClock) -> None:
    only = seed(database, clock, "post-1")
    choose(database, clock)
    started = clock.now()
    choose(database, clock)
    row = campaign(database, only)
    assert (row.started_at, row.served_at) == (started, clock.now())


def test_two_that_choose_at_once_take_different_campaigns(database: Database, clock: FakeClock) -> None:
    wanted = {seed(database, clock, f"post-{n}") for n in range(4)}
    found: list[int | None] = []
    start = threading.Barrier(4)

    def run() -> None:
        own = Database(database.url.render_as_string(hide_password=False))
        start.wait()
        with own.write() as connection:
            found.append(turns.choose(connection, clock.now()))
        own.close()

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert set(found) == wanted


def test_the_choice_reads_no_post_and_no_table_of_deliveries(database: Database, clock: FakeClock) -> None:
    """At ten million deliveries and a thousand campaigns it must stay a probe of an index for each campaign."""
    for n in range(20):
        seed(database, clock, f"post-{n}")
    asked: list[tuple[str, object]] = []
    event.listen(
        database.engine, "before_cursor_execute", lambda _c, _cursor, sql, values, *_: asked.append((sql, values))
    )
    choose(database, clock)
    sql, values = next(one for one in asked if "rests_until" in one[0])
    with database.read() as connection:
        if not database.is_sqlite:
            # a small table is read whole whatever its indexes
            connection.execute(text("SET LOCAL enable_seqscan = off"))
        explain = "EXPLAIN QUERY PLAN " if database.is_sqlite else "EXPLAIN "
        plan = "\n".join(str(row[-1]) for row in connection.exec_driver_sql(explain + sql, values))  # type: ignore[arg-type]
    assert "ix_campaigns_going" in plan
    assert "ix_campaigns_publication_served_at" in plan
    assert "ix_deliveries_queued" in plan


# -- the chains


def test_waking_rings_each_slot_once(database: Database, clock: FakeClock) -> None:
    only = seed(database, clock, "post-1")
    assert wake(database, clock, 2) == [Turn(0, 1, only), Turn(1, 1, only)]
    assert wake(database, clock, 2) == []


def test_nothing_to_do_rings_nothing(database: Database, clock: FakeClock) -> None:
    assert wake(database, clock, 2) == []


def test_more_slots_than_before_are_rung_too(database: Database, clock: FakeClock) -> None:
    only = seed(database, clock, "post-1")
    wake(database, clock, 1)
    assert wake(database, clock, 3) == [Turn(1, 1, only), Turn(2, 1, only)]


def test_of_doubles_the_first_to_arrive_runs(database: Database, clock: FakeClock) -> None:
    seed(database, clock, "post-1")
    [turn] = wake(database, clock, 1)
    assert [begin(database, clock, turn) for _ in range(3)] == [True, False, False]


def test_a_chain_goes_on_with_the_next_number(database: Database, clock: FakeClock) -> None:
    first, second = seed(database, clock, "post-1"), seed(database, clock, "post-2")
    [turn] = wake(database, clock, 1)
    assert turn.campaign_id == first
    begin(database, clock, turn)
    clock.advance(seconds=3)
    following = end(database, clock, turn)
    assert following == Turn(0, 2, second)
    assert begin(database, clock, following)


def test_a_lost_ring_is_rung_again_by_its_own_number(database: Database, clock: FakeClock) -> None:
    """It may be late and not lost: then one of the two drops out."""
    seed(database, clock, "post-1")
    [turn] = wake(database, clock, 1)
    clock.advance(seconds=11)
    [again] = wake(database, clock, 1)
    assert again.number == turn.number
    assert [begin(database, clock, one) for one in (again, turn)] == [True, False]


def test_a_chain_touched_by_a_clock_that_was_an_hour_ahead_is_rung_again(database: Database, clock: FakeClock) -> None:
    """What it last wrote lies in the future; that must not keep it asleep until then."""
    only = seed(database, clock, "post-1")
    clock.advance(hours=1)
    [turn] = wake(database, clock, 1)
    begin(database, clock, turn)
    clock.advance(hours=-1)
    assert wake(database, clock, 1) == [Turn(0, 2, only)]


def test_a_dead_chain_is_taken_over_and_drops_out_where_it_was_only_slow(database: Database, clock: FakeClock) -> None:
    seed(database, clock, "post-1")
    [turn] = wake(database, clock, 1)
    begin(database, clock, turn)
    clock.advance(seconds=11)
    [successor] = wake(database, clock, 1)
    assert successor.number == turn.number + 1
    begin(database, clock, successor)
    assert end(database, clock, turn) is None
    assert wake(database, clock, 1) == []


def test_a_slow_chain_whose_successor_has_not_begun_rings_it_by_the_same_number(
    database: Database, clock: FakeClock
) -> None:
    seed(database, clock, "post-1")
    [turn] = wake(database, clock, 1)
    begin(database, clock, turn)
    clock.advance(seconds=11)
    [successor] = wake(database, clock, 1)
    following = end(database, clock, turn)
    assert following is not None
    assert following.number == successor.number


def test_a_chain_that_lives_is_not_taken_over(database: Database, clock: FakeClock) -> None:
    seed(database, clock, "post-1")
    [turn] = wake(database, clock, 1)
    begin(database, clock, turn)
    for _ in range(3):
        clock.advance(seconds=8)
        with database.write() as connection:
            assert turns.touch(connection, turn.slot, turn.number, clock.now())
        assert wake(database, clock, 1) == []
    with database.write() as connection:
        assert not turns.touch(connection, turn.slot, turn.number - 1, clock.now())


def test_a_chain_without_work_ends_and_is_woken_at_once_by_new_work(database: Database, clock: FakeClock) -> None:
    seeded = seed_campaign(database, clock.now(), 2)
    [turn] = wake(database, clock, 1)
    begin(database, clock, turn)
    set_status(database, seeded.deliveries, "sent")
    assert end(database, clock, turn) is None
    set_status(database, seeded.deliveries, "queued")
    assert wake(database, clock, 1) == [Turn(0, 2, seeded.campaign_id)]


def test_a_campaign_whose_limits_are_used_up_rests_while_others_go(database: Database, clock: FakeClock) -> None:
    first, second = seed(database, clock, "post-1"), seed(database, clock, "post-2")
    [turn] = wake(database, clock, 1)
    begin(database, clock, turn)
    following = end(database, clock, turn, rest=2)
    assert following is not None
    assert following.campaign_id == second
    begin(database, clock, following)
    assert end(database, clock, following, rest=2) is None
    assert wake(database, clock, 1) == []
    clock.advance(seconds=2.1)
    assert [one.campaign_id for one in wake(database, clock, 1)] == [first]


def test_a_rest_is_never_long(database: Database, clock: FakeClock) -> None:
    """Rows under other limits may become due meanwhile."""
    only = seed(database, clock, "post-1")
    [turn] = wake(database, clock, 1)
    begin(database, clock, turn)
    assert end(database, clock, turn, rest=5400) is None
    clock.advance(seconds=5.1)
    assert [one.campaign_id for one in wake(database, clock, 1)] == [only]


def test_a_campaign_whose_domain_warms_up_rests_for_as_long_as_that_takes(database: Database, clock: FakeClock) -> None:
    """Nothing of it may go before the next day; others go meanwhile."""
    warm, other = seed(database, clock, "post-1"), seed(database, clock, "post-2", "weekly")
    [turn] = wake(database, clock, 1)
    begin(database, clock, turn)
    tomorrow = clock.now() + timedelta(hours=10)
    with database.write() as connection:
        following = turns.next_turn(connection, turn, clock.now(), timedelta(0), tomorrow)
    assert following == Turn(0, 2, other)
    begin(database, clock, following)
    assert end(database, clock, following, rest=2) is None
    clock.advance(hours=9, minutes=59)
    with database.read() as connection:
        assert turns.held(connection, clock.now()) == [(warm, "daily")]
    assert [one.campaign_id for one in wake(database, clock, 1)] == [other]
    clock.advance(minutes=1)
    with database.read() as connection:
        assert turns.held(connection, clock.now()) == []
    assert choose(database, clock) == warm


def test_a_campaign_that_is_roused_has_its_turn(database: Database, clock: FakeClock) -> None:
    only = seed(database, clock, "post-1")
    [turn] = wake(database, clock, 1)
    begin(database, clock, turn)
    with database.write() as connection:
        assert turns.next_turn(connection, turn, clock.now(), timedelta(0), clock.now() + timedelta(days=1)) is None
        turns.rouse(connection, [only])
    assert wake(database, clock, 1) == [Turn(0, 2, only)]


def test_a_chain_that_just_ends_does_not_miss_work_that_just_came(database: Database, clock: FakeClock) -> None:
    """Whoever commits work wakes the chains after it: one of the two sees the other."""
    for round_ in range(10):
        seeded = seed_campaign(database, clock.now(), 1, post_id=f"post-{round_}")
        clock.advance(seconds=20)
        [turn] = wake(database, clock, 1)
        begin(database, clock, turn)
        set_status(database, seeded.deliveries, "sent")
        rung: list[Turn | None] = []
        start = threading.Barrier(2)

        def ends(turn: Turn = turn, rung: list[Turn | None] = rung, start: threading.Barrier = start) -> None:
            start.wait()
            rung.append(end(database, clock, turn))

        def works(round_: int = round_, rung: list[Turn | None] = rung, start: threading.Barrier = start) -> None:
            start.wait()
            seed_campaign(database, clock.now(), 1, post_id=f"new-{round_}")
            rung.extend(wake(database, clock, 1))

        threads = [threading.Thread(target=one) for one in (ends, works)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len([one for one in rung if one is not None]) == 1
        with database.write() as connection:
            connection.execute(update(CampaignRow).values(status="paused"))
        with database.read() as connection:
            assert connection.execute(select(CampaignRow.id)).first() is not None


def test_the_slots_ring_what_they_woke(database: Database, clock: FakeClock) -> None:
    only = seed(database, clock, "post-1")
    room = Room(database, clock)
    assert room.chains.wake() == 2
    assert room.bell.rings == [("bulk", 0, 1, only), ("bulk", 1, 1, only)]
    assert room.chains.wake() == 0


# -- as many chains as the workers that are up have processes for


def follow(database: Database, clock: FakeClock, wanted: int | None) -> tuple[list[tuple[object, ...]], int]:
    """(what a sweep rings, how many chains there are to be)"""
    room = Room(database, clock, wanted=wanted)
    room.chains.follow()
    with database.read() as connection:
        return room.bell.rings, room.chains.count(connection)


@pytest.fixture
def swept(database: Database, clock: FakeClock) -> None:
    with database.write() as connection:
        ledger.advance(connection, clock.now())


@pytest.mark.usefixtures("swept")
def test_workers_that_come_are_given_chains(database: Database, clock: FakeClock) -> None:
    only = seed(database, clock, "post-1")
    assert follow(database, clock, 2) == ([("bulk", 0, 1, only), ("bulk", 1, 1, only)], 2)
    assert follow(database, clock, 4) == ([("bulk", 2, 1, only), ("bulk", 3, 1, only)], 4)
    # who opens a campaign wakes all of them: the ledger knows how many there are
    clock.advance(seconds=60)
    assert Room(database, clock, slots=1).chains.wake() == 4


@pytest.mark.usefixtures("swept")
def test_chains_end_when_workers_have_gone(database: Database, clock: FakeClock) -> None:
    only = seed(database, clock, "post-1")
    follow(database, clock, 3)
    running = [Turn(slot, 1, only) for slot in range(3)]
    assert all(begin(database, clock, turn) for turn in running)
    assert follow(database, clock, 1) == ([], 1)
    assert [end(database, clock, turn) for turn in running] == [Turn(0, 2, only), None, None]
    # they come back: so do the chains, with numbers that were never used
    assert follow(database, clock, 3) == ([("bulk", 1, 2, only), ("bulk", 2, 2, only)], 3)


@pytest.mark.usefixtures("swept")
def test_without_word_of_the_workers_the_chains_stay(database: Database, clock: FakeClock) -> None:
    """Redis is away, or was emptied just now."""
    assert follow(database, clock, 5)[1] == 5
    assert follow(database, clock, None)[1] == 5


def test_a_ledger_without_a_sweep_has_as_many_as_the_settings_say(database: Database, clock: FakeClock) -> None:
    assert follow(database, clock, 5)[1] == 2
    turn = Turn(4, 1, seed(database, clock, "post-1"))
    assert len(wake(database, clock, 5)) == 5
    assert begin(database, clock, turn)
    assert end(database, clock, turn) == Turn(4, 2, turn.campaign_id)
