"""Events that led to nothing are found, and given their effect; those that had theirs are left alone."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import insert, select, update

from tests.integration.intake.test_receive import DAILY, WEEKLY, count, doorbell, intake  # noqa: F401 - fixtures
from tests.unit.intake.making import sample
from worker.domain.clock import FakeClock
from worker.domain.doorbell import RecordingDoorbell
from worker.domain.errors import Conflict, InvalidInput, NotFound
from worker.intake.cloudevents import event_of
from worker.intake.overlooked import overlooked
from worker.intake.receive import Intake
from worker.intake.views import event_number, list_events
from worker.storage.database import Database
from worker.storage.models import CampaignRow, DeliveryRow, EventRow


def put_event(database: Database, clock: FakeClock, name: str, status: str, note: str = "", **data: Any) -> int:
    """As a Pressrun that did not know its type would have kept it."""
    event = sample(name)
    values = {
        "publication": "daily", "source": event["source"], "event_id": event["id"], "type": event["type"],
        "received_at": clock.now(), "body_hash": "x", "data": data or event["data"], "status": status, "note": note,
    }  # fmt: skip
    with database.write() as connection:
        number: int = connection.execute(insert(EventRow).values(values).returning(EventRow.id)).scalar_one()
    return number


def test_an_ignored_event_has_its_effect_after_the_upgrade(
    database: Database, clock: FakeClock, intake: Intake, doorbell: RecordingDoorbell  # noqa: F811
) -> None:
    number = put_event(database, clock, "subscriber-created", "ignored", "type 'subscriber.created' is not known here")
    assert list(overlooked(database)) == [number]
    receipt = intake.replay(DAILY, number)
    assert receipt.status == "accepted"
    assert count(database, DeliveryRow) == 1
    assert [ring[0] for ring in doorbell.rings] == ["transactional"]
    with database.read() as connection:
        (shown,) = list_events(connection, publication="daily", status="accepted")
    assert (shown["number"], shown["note"]) == (number, receipt.note)
    assert list(overlooked(database)) == []
    with pytest.raises(Conflict, match="has had its effect"):
        intake.replay(DAILY, number)
    assert count(database, DeliveryRow) == 1


def test_an_accepted_event_whose_effect_is_missing_is_found(
    database: Database, clock: FakeClock, intake: Intake  # noqa: F811
) -> None:
    number = put_event(database, clock, "post-published", "accepted")
    assert list(overlooked(database)) == [number]
    intake.replay(DAILY, number)
    assert count(database, CampaignRow) == 1
    with database.write() as connection:
        connection.execute(update(EventRow).values(note=""))
    # whatever happens to the record of it: one post, one campaign
    intake.replay(DAILY, number)
    assert count(database, CampaignRow) == 1


def test_one_that_was_erased_does_not_bring_the_reader_back(
    database: Database, clock: FakeClock, intake: Intake  # noqa: F811
) -> None:
    number = put_event(database, clock, "subscriber-created", "accepted", erased=True)
    assert list(overlooked(database)) == []
    with pytest.raises(Conflict, match="erased since"):
        intake.replay(DAILY, number)
    assert count(database, DeliveryRow) == 0


def test_what_cannot_be_replayed_is_named_and_changes_nothing(
    database: Database, clock: FakeClock, intake: Intake  # noqa: F811
) -> None:
    number = put_event(database, clock, "subscriber-created", "ignored")
    with database.write() as connection:
        connection.execute(update(EventRow).values(type="member.exploded"))
    with pytest.raises(Conflict, match=r"'member\.exploded' is not known here"):
        intake.replay(DAILY, number)
    with pytest.raises(NotFound, match=f"no event {number}"):
        intake.replay(WEEKLY, number)
    with pytest.raises(NotFound, match="no event 99"):
        intake.replay(DAILY, 99)
    with database.write() as connection:
        connection.execute(update(EventRow).values(type="subscriber.created", data={"subscriber": {}}))
    with pytest.raises(InvalidInput, match=r"data\.subscriber\.email"):
        intake.replay(DAILY, number)
    with database.read() as connection:
        assert connection.execute(select(EventRow.status)).scalars().all() == ["ignored"]


def test_events_are_listed_by_number(database: Database, clock: FakeClock, intake: Intake) -> None:  # noqa: F811
    intake.receive(DAILY, event_of(sample("post-published")))
    intake.receive(DAILY, event_of({**sample("subscriber-created"), "type": "member.exploded", "id": "m-1"}))
    with database.read() as connection:
        everything = list_events(connection)
        assert [one["status"] for one in everything] == ["accepted", "ignored"]
        assert [one["id"] for one in list_events(connection, status="ignored")] == ["m-1"]
        assert list_events(connection, publication="weekly") == []
        assert list_events(connection, after=everything[0]["number"], limit=1) == everything[1:]
        assert event_number(connection, "daily", "m-1", None) == everything[1]["number"]
        with pytest.raises(NotFound):
            event_number(connection, "weekly", "m-1", None)
