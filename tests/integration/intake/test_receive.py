"""The intake itself, on both databases: doubles at the same moment, and refusals that leave nothing behind."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from tests.unit.intake.making import publication, sample
from worker.audience.signup import SignUpRules
from worker.campaigns.opening import CampaignRules
from worker.domain.clock import FakeClock
from worker.domain.doorbell import RecordingDoorbell
from worker.domain.errors import Conflict, InvalidInput
from worker.domain.events import Event
from worker.domain.publication import Publication
from worker.intake.cloudevents import event_of
from worker.intake.receive import Intake, Receipt, check_publication, named_publication
from worker.storage.database import Database
from worker.storage.models import CampaignRow, DeliveryRow, EventRow

DAILY = publication()
WEEKLY = publication("weekly")
BOTH = {"daily": DAILY, "weekly": WEEKLY}
TOGETHER = 20


@pytest.fixture
def doorbell() -> RecordingDoorbell:
    return RecordingDoorbell()


@pytest.fixture
def intake(database: Database, clock: FakeClock, doorbell: RecordingDoorbell) -> Intake:
    sign_ups = SignUpRules(
        confirm_lifetime=timedelta(hours=72), interval=timedelta(minutes=10), per_day=3, per_ip_hour=20,
        group_of=lambda _: "",
    )  # fmt: skip
    return Intake(database, clock, doorbell, sign_ups, CampaignRules(per_hour=10, max_age=None))


def count(database: Database, table: Any) -> int:
    with database.read() as connection:
        found: int = connection.execute(select(func.count()).select_from(table)).scalar_one()
    return found


def at_once(calls: list[Callable[[], object]]) -> list[object]:
    """What each call returned or raised, all of them begun at the same moment."""
    barrier = threading.Barrier(len(calls))

    def one(call: Callable[[], object]) -> object:
        barrier.wait(30)
        try:
            return call()
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(one, calls))


@pytest.mark.parametrize("name", ["post-published", "subscriber-created"])
def test_twenty_doubles_at_the_same_moment_are_one_event(
    intake: Intake, database: Database, doorbell: RecordingDoorbell, name: str
) -> None:
    event = event_of(sample(name))
    found = at_once([lambda: intake.receive(DAILY, event)] * TOGETHER)
    assert all(isinstance(one, Receipt) for one in found), found
    statuses = Counter(str(one.status) for one in found if isinstance(one, Receipt))
    assert statuses == {"accepted": 1, "duplicate": TOGETHER - 1}
    assert count(database, EventRow) == 1
    assert count(database, CampaignRow) + count(database, DeliveryRow) == 1
    assert len(doorbell.rings) == 1


def test_other_ids_for_the_same_post_at_the_same_moment_are_one_campaign(
    intake: Intake, database: Database, doorbell: RecordingDoorbell
) -> None:
    events = [event_of(sample("post-published") | {"id": f"e{n}"}) for n in range(TOGETHER)]
    found = at_once([lambda event=event: intake.receive(DAILY, event) for event in events])  # type: ignore[misc]
    assert [str(one.status) for one in found if isinstance(one, Receipt)] == ["accepted"] * TOGETHER
    assert count(database, EventRow) == TOGETHER
    assert count(database, CampaignRow) == 1
    assert len(doorbell.rings) == 1


def test_other_bodies_with_the_same_id_at_the_same_moment_are_conflicts(intake: Intake, database: Database) -> None:
    bodies = [event_of(sample("subscriber-created") | {"subject": f"s{n}"}) for n in range(TOGETHER)]
    found = at_once([lambda event=event: intake.receive(DAILY, event) for event in bodies])  # type: ignore[misc]
    assert sum(isinstance(one, Receipt) for one in found) == 1
    assert sum(isinstance(one, Conflict) for one in found) == TOGETHER - 1
    assert count(database, EventRow) == 1


def test_a_refusal_inside_the_transaction_leaves_nothing(intake: Intake, database: Database) -> None:
    """That a list does not exist is seen after the event was written: all of it is taken back."""
    given = sample("post-published")
    given["data"]["list"] = "nothing"
    with pytest.raises(InvalidInput):
        intake.receive(DAILY, event_of(given))
    assert count(database, EventRow) == 0
    given["data"]["list"] = "posts"
    assert str(intake.receive(DAILY, event_of(given)).status) == "accepted"


def test_a_duplicate_stays_one_when_its_list_is_gone(intake: Intake) -> None:
    event = event_of(sample("post-published"))
    intake.receive(DAILY, event)
    without = publication("daily", "another")
    assert str(intake.receive(without, event).status) == "duplicate"


def test_the_same_event_at_two_publications_is_two(intake: Intake, database: Database) -> None:
    event = event_of(sample("subscriber-created"))
    intake.receive(DAILY, event)
    assert str(intake.receive(WEEKLY, event).status) == "accepted"
    assert count(database, EventRow) == 2


def test_numbers_keep_their_kind(intake: Intake) -> None:
    """1 and 1.0 are told apart, true and 1 too: an event is the same as long as its JSON is."""
    base = {"specversion": "1.0", "id": "n", "source": "/s", "type": "t"}
    intake.receive(DAILY, event_of(base | {"data": {"n": 1}}))
    with pytest.raises(Conflict):
        intake.receive(DAILY, event_of(base | {"data": {"n": True}}))


@pytest.mark.parametrize(
    ("given", "expected"), [("daily", DAILY), ("weekly", WEEKLY), ("nowhere", None), (None, None), (7, None)]
)
def test_whose_event_it_is(given: object, expected: Publication | None) -> None:
    event = Event("1", "/s", "post.published", {} if given is None else {"publication": given})
    if expected is not None:
        assert named_publication(BOTH, event) is expected
        return
    with pytest.raises(InvalidInput) as error:
        named_publication(BOTH, event)
    assert [one.field for one in error.value.problems] == ["data.publication"]
    with pytest.raises(InvalidInput):
        check_publication(BOTH, DAILY, event)
