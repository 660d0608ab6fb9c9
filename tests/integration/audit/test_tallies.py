"""Counters against counted rows: a wrong one is found and mended, a right one is left alone, while mail moves."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

import pytest
from sqlalchemy import Connection, delete, update

from tests.integration.campaigns.readers import Room, publish, set_status
from tests.ledger import Seeded, assert_counters_agree, seed_campaign, statuses
from worker.audit import tallies, tally_queries
from worker.audit.findings import Kind
from worker.audit.tallies import WrongSlice, mend, off, wrong_slices
from worker.delivery.claim import Claimer
from worker.delivery.parcels import Result
from worker.delivery.record import RecordPolicy, record
from worker.delivery.transports.base import Exchange
from worker.domain.clock import FakeClock
from worker.domain.delivery import Kind as MailKind
from worker.domain.replies import Reply, Stage
from worker.domain.retry import RetryPolicy
from worker.storage.database import Database
from worker.storage.models import DeliveryRow, SliceRow, TallyRow
from worker.storage.moves import add_tallies
from worker.storage.outbox import Outgoing, put


@pytest.fixture
def seeded(database: Database, clock: FakeClock) -> Seeded:
    return seed_campaign(database, clock.now(), 10)


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tallies, "_PAGE", 3)
    monkeypatch.setattr(tallies, "_SLICES", 1)


def wrong(database: Database, clock: FakeClock) -> list[WrongSlice]:
    return list(wrong_slices(database, clock.now() - timedelta(days=400)))


def spoil(database: Database, slice_id: int, status: str, n: int) -> None:
    with database.write() as connection:
        add_tallies(connection, Counter({(slice_id, status, ""): n}))


def test_counters_that_are_right(database: Database, clock: FakeClock, seeded: Seeded) -> None:
    seed_campaign(database, clock.now(), 4, post_id="post-2")
    set_status(database, seeded.deliveries[:3], "bounced", "bad_address")
    assert wrong(database, clock) == []


def test_counters_that_are_wrong_are_found_and_mended(database: Database, clock: FakeClock, seeded: Seeded) -> None:
    seed_campaign(database, clock.now(), 4, post_id="post-2")
    set_status(database, seeded.deliveries[:3], "sent")
    spoil(database, seeded.slice_id, "queued", -2)
    spoil(database, seeded.slice_id, "sent", 1)
    (one,) = wrong(database, clock)
    assert one.finding.kind is Kind.TALLY_WRONG
    assert one.finding.words == "slice 1 of campaign 1: its rows differ from its counts by queued +2, sent -1"
    assert mend(database, one)
    assert_counters_agree(database)
    assert wrong(database, clock) == []
    assert not mend(database, one)


def test_counters_that_are_gone(database: Database, clock: FakeClock, seeded: Seeded) -> None:
    with database.write() as connection:
        connection.execute(delete(TallyRow))
    (one,) = wrong(database, clock)
    assert mend(database, one)
    assert_counters_agree(database)


def test_transactional_mail_is_counted_by_shard(database: Database, clock: FakeClock) -> None:
    with database.write() as connection:
        for n in range(5):
            put(connection, Outgoing("daily", MailKind.WELCOME, "a@example.com", "", f"w:{n}", None), clock.now())
        connection.execute(update(TallyRow).values(n=4))
    (one,) = wrong(database, clock)
    assert (one.span, one.off) == (None, {("queued", ""): 1})
    assert one.finding.words.startswith("slice 1 of transactional mail: ")
    assert mend(database, one)
    assert_counters_agree(database)


def test_counts_of_rows_that_retention_took_stay(database: Database, clock: FakeClock, seeded: Seeded) -> None:
    set_status(database, seeded.deliveries, "sent")
    clock.advance(days=401)
    young = seed_campaign(database, clock.now(), 2, post_id="post-2")
    with database.write() as connection:
        connection.execute(delete(DeliveryRow).where(DeliveryRow.id.in_(seeded.deliveries[:4])))
    assert wrong(database, clock) == []
    with database.write() as connection:
        connection.execute(delete(DeliveryRow).where(DeliveryRow.id.in_(seeded.deliveries)))
    assert wrong(database, clock) == []
    # of a young campaign it would be a loss
    with database.write() as connection:
        connection.execute(delete(DeliveryRow).where(DeliveryRow.id == young.deliveries[0]))
    (one,) = wrong(database, clock)
    assert one.off == {("queued", ""): -1}


@pytest.mark.parametrize("off_by", [0, 7])
def test_a_slice_that_is_planned_behind_the_walk(
    database: Database, clock: FakeClock, seeded: Seeded, monkeypatch: pytest.MonkeyPatch, off_by: int
) -> None:
    """Its counts are left alone, or a cancel would pass it over; and if they are wrong, they are set right."""
    opened = publish(database, clock.now(), post_id="post-2")
    page_end = tally_queries.page_end

    def then_plan(connection: Connection, after: int, limit: int) -> int | None:
        end = page_end(connection, after, limit)
        if end is None:
            Room(database, clock).plan(opened.campaign_id)
            spoil(database, seeded.slice_id + 1, "queued", off_by)
        return end

    monkeypatch.setattr(tally_queries, "page_end", then_plan)
    found = wrong(database, clock)
    assert [one.off for one in found] == ([{("queued", ""): -off_by}] if off_by else [])
    assert [mend(database, one) for one in found] == [True] * len(found)
    assert statuses(database) == {"queued": 20}
    assert_counters_agree(database)


@pytest.mark.parametrize("off_by", [0, 7])
@pytest.mark.parametrize("passed", [6, 12])
def test_a_slice_that_is_committed_beside_the_walk(
    database: Database, clock: FakeClock, seeded: Seeded, monkeypatch: pytest.MonkeyPatch, passed: int, off_by: int
) -> None:
    """With ids that the walk has passed by then: it sees the upper part of them, or none."""
    spoil(database, seeded.slice_id, "queued", off_by)
    count_page = tally_queries.count_page

    def not_yet(connection: Connection, after: int, until: int) -> Sequence[tally_queries.AnyRow]:
        return count_page(connection, after, until) if after >= passed else []

    monkeypatch.setattr(tally_queries, "count_page", not_yet)
    found = wrong(database, clock)
    assert [one.off for one in found] == ([{("queued", ""): -off_by}] if off_by else [])
    assert [mend(database, one) for one in found] == [True] * len(found)
    assert_counters_agree(database)


def test_a_slice_that_does_not_say_where_its_rows_are(database: Database, clock: FakeClock, seeded: Seeded) -> None:
    """Nothing writes one; then what was walked tells."""
    with database.write() as connection:
        connection.execute(update(SliceRow).values(first_id=None, last_id=None))
    spoil(database, seeded.slice_id, "queued", 7)
    (one,) = wrong(database, clock)
    assert mend(database, one)
    assert_counters_agree(database)


@pytest.mark.parametrize(
    ("counted", "kept", "old", "difference"),
    [
        ({("sent", ""): 3}, {("sent", ""): 3, ("queued", ""): 0}, False, {}),
        ({("sent", ""): 3}, {("sent", ""): 5}, False, {("sent", ""): -2}),
        ({("sent", ""): 3}, {("sent", ""): 5}, True, {}),
        ({("sent", ""): 5}, {("sent", ""): 3}, True, {("sent", ""): 2}),
        ({("sent", ""): 3}, {("sent", ""): 3, ("queued", ""): 1}, True, {("queued", ""): -1}),
        ({}, {("sent", ""): 5, ("queued", ""): 0}, False, {}),
        ({}, {("sent", ""): 5, ("queued", ""): 1}, False, {("sent", ""): -5, ("queued", ""): -1}),
        ({("sent", ""): 1}, {("sent", ""): 1, ("bounced", ""): -1}, True, {("bounced", ""): 1}),
    ],
)
def test_what_may_differ(
    counted: dict[tuple[str, str], int], kept: dict[tuple[str, str], int], old: bool,
    difference: dict[tuple[str, str], int],
) -> None:  # fmt: skip
    assert off(counted, kept, old=old) == difference


def test_mail_that_moves_meanwhile_is_no_finding_and_a_recount_loses_none_of_it(
    database: Database, clock: FakeClock
) -> None:
    """Claims and outcomes at full speed beside audits and recounts of the same slice."""
    seeded = seed_campaign(database, clock.now(), 300)
    spoil(database, seeded.slice_id, "queued", 7)
    policy = RecordPolicy(RetryPolicy(), "retry", "retry", lambda _low, high: high)
    accepted = Exchange(Stage.BODY, Reply(250, "2.0.0", "ok"), "", 0.1)
    errors: list[BaseException] = []

    def send() -> None:
        claimer = Claimer(database, clock, "here:1.journal", timedelta(seconds=30))
        try:
            while (claim := claimer.campaign(seeded.campaign_id, {"": 5})) is not None:
                results = [Result(one, clock.now(), accepted) for one in claim.claimed]
                with database.write() as connection:
                    record(connection, policy, results)
        except BaseException as error:
            errors.append(error)

    sender = threading.Thread(target=send)
    sender.start()
    recounted = 0
    while sender.is_alive():
        recounted += sum(mend(database, one) for one in wrong(database, clock))
    sender.join()
    assert errors == []
    recounted += sum(mend(database, one) for one in wrong(database, clock))
    # once, for what was spoilt; moves are never taken for a fault
    assert recounted == 1
    assert_counters_agree(database)
