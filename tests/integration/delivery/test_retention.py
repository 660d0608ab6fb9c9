"""What is kept long enough goes: events, and transactional mail that has come to its end. The counts stay."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import insert, select, update

from tests.ledger import seed_campaign, tallies
from worker.delivery.due import Due
from worker.domain.clock import FakeClock
from worker.domain.delivery import Kind
from worker.storage.database import Database
from worker.storage.models import AttemptRow, DeliveryRow, EventRow
from worker.storage.outbox import Outgoing, put

KEPT = timedelta(days=400)


def due(database: Database, clock: FakeClock) -> Due:
    return Due(database, clock, KEPT, timedelta(hours=4))


def put_mails(database: Database, clock: FakeClock, n: int, first: int = 0) -> list[int]:
    with database.write() as connection:
        ids = [
            put(connection, Outgoing("daily", Kind.TEST, f"a{one}@x.test", "", f"test:{one}", None), clock.now())
            for one in range(first, first + n)
        ]
        found = [one for one in ids if one is not None]
        tried = {"at": clock.now(), "outcome": "temporary", "duration_ms": 1}
        connection.execute(insert(AttemptRow), [{"delivery_id": one, **tried} for one in found])
    return found


def ids(database: Database) -> list[int]:
    with database.read() as connection:
        return list(connection.execute(select(DeliveryRow.id).order_by(DeliveryRow.id)).scalars())


@pytest.mark.parametrize("n", [3, 600])
def test_old_mail_goes_in_sets_and_young_mail_stays(database: Database, clock: FakeClock, n: int) -> None:
    old = put_mails(database, clock, n)
    with database.write() as connection:
        connection.execute(update(DeliveryRow).values(status="sent"))
    clock.advance(days=401)
    young = put_mails(database, clock, 2, first=n)
    with database.write() as connection:
        connection.execute(update(DeliveryRow).where(DeliveryRow.id == young[0]).values(status="sent"))
    before = tallies(database)
    assert due(database, clock).retention() == len(old)
    assert ids(database) == young
    with database.read() as connection:
        assert list(connection.execute(select(AttemptRow.delivery_id)).scalars()) == young
    assert tallies(database) == before


def test_what_has_not_come_to_its_end_stays(database: Database, clock: FakeClock) -> None:
    queued, deferred, failed = put_mails(database, clock, 3)
    with database.write() as connection:
        for one, status in ((deferred, "deferred"), (failed, "failed")):
            connection.execute(update(DeliveryRow).where(DeliveryRow.id == one).values(status=status))
    clock.advance(days=401)
    assert due(database, clock).retention() == 1
    assert ids(database) == [queued, deferred]


def test_a_campaigns_mail_is_not_its_business(database: Database, clock: FakeClock) -> None:
    seeded = seed_campaign(database, clock.now(), 3)
    with database.write() as connection:
        connection.execute(update(DeliveryRow).values(status="sent"))
    clock.advance(days=401)
    assert due(database, clock).retention() == 0
    assert ids(database) == list(seeded.deliveries)


def test_old_events_go(database: Database, clock: FakeClock) -> None:
    def receive(event_id: str) -> None:
        with database.write() as connection:
            connection.execute(insert(EventRow).values(
                publication="daily", source="s", event_id=event_id, type="t", received_at=clock.now(), body_hash="",
                data={}, status="done",
            ))  # fmt: skip

    receive("old")
    clock.advance(days=401)
    receive("young")
    assert due(database, clock).retention() == 1
    with database.read() as connection:
        assert list(connection.execute(select(EventRow.event_id)).scalars()) == ["young"]
