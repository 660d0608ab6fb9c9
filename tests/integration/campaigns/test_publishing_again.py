"""A post published again, or taken back, before anybody got it: what goes out is what was published last."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime

import pytest
from sqlalchemy import select

from tests.integration.campaigns.readers import (
    Room,
    add_readers,
    campaign,
    deliveries,
    publish,
    set_status,
    take_back,
)
from tests.ledger import assert_counters_agree, statuses
from worker.campaigns.opening import CampaignRules
from worker.delivery import queries as delivery_queries
from worker.domain.campaign import CampaignReason, CampaignStatus
from worker.domain.clock import FakeClock
from worker.domain.errors import Conflict, PermanentError
from worker.storage.database import Database
from worker.storage.models import DeliveryRow

_HOLD = CampaignRules(per_hour=0, max_age=None)


def too_large(*_: object) -> None:
    raise PermanentError("the mail has 120 KB; cut the body")


def written_to(database: Database, campaign_id: int) -> list[int]:
    with database.read() as connection:
        found = select(DeliveryRow.subscriber_id).where(DeliveryRow.campaign_id == campaign_id)
        return [one for one in connection.execute(found.order_by(DeliveryRow.id)).scalars() if one is not None]


def goes_to(database: Database, campaign_id: int) -> tuple[str, str, list[str]]:
    row = campaign(database, campaign_id)
    return row.post["title"], row.list_slug, row.labels


# -- taken back


def test_a_failed_campaign_is_cancelled_by_unpublishing(database: Database, clock: FakeClock) -> None:
    add_readers(database, clock.now(), 3)
    room = Room(database, clock)
    opened = publish(database, clock.now())
    room.plan(opened.campaign_id)
    set_status(database, deliveries(database, opened.campaign_id)[:1], "sent")
    with database.write() as connection:
        delivery_queries.fail_campaign(connection, opened.campaign_id, "new_post/body.html:3: unknown field")

    back = take_back(database, clock)
    assert back is not None
    assert (back.note, back.tidy) == (f"campaign {opened.campaign_id} is cancelled; what was sent stays sent", True)
    with pytest.raises(Conflict, match="is cancelled"):
        room.control.retry(opened.campaign_id)
    room.control.tidy(opened.campaign_id)
    assert statuses(database) == {"sent": 1, "cancelled": 2}

    assert publish(database, clock.now()).ring
    room.control.tidy(opened.campaign_id)
    assert statuses(database) == {"sent": 1, "queued": 2}
    assert_counters_agree(database)


# -- published again before it has begun


def _failed(database: Database, clock: FakeClock, campaign_id: int) -> None:
    Room(database, clock).planner(too_large).run(campaign_id)


def _failed_and_taken_back(database: Database, clock: FakeClock, campaign_id: int) -> None:
    _failed(database, clock, campaign_id)
    take_back(database, clock)


def _taken_back(database: Database, clock: FakeClock, _campaign_id: int) -> None:
    take_back(database, clock)


def _taken_back_and_tidied(database: Database, clock: FakeClock, campaign_id: int) -> None:
    take_back(database, clock)
    Room(database, clock).control.tidy(campaign_id)


@pytest.mark.parametrize("stop", [_failed, _failed_and_taken_back, _taken_back, _taken_back_and_tidied])
def test_text_list_and_labels_are_those_it_was_published_with_last(
    database: Database, clock: FakeClock, stop: Callable[[Database, FakeClock, int], None]
) -> None:
    add_readers(database, clock.now(), 3)
    add_readers(database, clock.now(), 2, list_slug="notes", prefix="all")
    right = add_readers(database, clock.now(), 2, list_slug="notes", labels=["vip"], prefix="vip")
    room = Room(database, clock)
    opened = publish(database, clock.now(), title="Wrong")
    stop(database, clock, opened.campaign_id)
    clock.advance(hours=24)
    # joined since the first event, and there at the one that counts
    right += add_readers(database, clock.now(), 1, list_slug="notes", labels=["vip"], prefix="new")
    again = publish(database, clock.now(), title="Right", list_slug="notes", labels=["vip"])
    assert (again.campaign_id, again.ring, again.tidy) == (opened.campaign_id, True, False)
    add_readers(database, clock.now(), 1, list_slug="notes", labels=["vip"], prefix="late")
    room.plan(opened.campaign_id)
    room.control.tidy(opened.campaign_id)

    row = campaign(database, opened.campaign_id)
    assert (row.status, row.reason, row.finished_at) == (CampaignStatus.SENDING, "", None)
    assert row.released_at == clock.now()
    assert goes_to(database, opened.campaign_id) == ("Right", "notes", ["vip"])
    assert written_to(database, opened.campaign_id) == right
    assert_counters_agree(database)


@pytest.mark.parametrize("taken_back", [False, True])
def test_what_is_held_takes_the_post_as_it_is_now_and_stays_held(
    database: Database, clock: FakeClock, taken_back: bool
) -> None:
    add_readers(database, clock.now(), 3)
    right = add_readers(database, clock.now(), 2, list_slug="notes", prefix="notes")
    room = Room(database, clock)
    held = publish(database, clock.now(), rules=_HOLD, title="Wrong")
    if taken_back:
        take_back(database, clock)
    again = publish(database, clock.now(), rules=_HOLD, title="Right", list_slug="notes")
    assert (again.campaign_id, again.ring) == (held.campaign_id, False)
    row = campaign(database, held.campaign_id)
    assert (row.status, row.reason) == (CampaignStatus.PAUSED, CampaignReason.HELD_RATE)
    room.control.resume(held.campaign_id)
    room.plan(held.campaign_id)
    assert goes_to(database, held.campaign_id) == ("Right", "notes", [])
    assert written_to(database, held.campaign_id) == right


def test_publishing_what_is_held_again_does_not_release_it(database: Database, clock: FakeClock) -> None:
    held = publish(database, clock.now(), rules=_HOLD)
    again = publish(database, clock.now())
    assert not again.ring
    assert again.note.endswith("which is paused; it has not begun, and takes the post as it is now")
    assert campaign(database, held.campaign_id).reason == CampaignReason.HELD_RATE


def test_held_and_taken_back_it_goes_once_the_hour_has_room(database: Database, clock: FakeClock) -> None:
    """What was held for the hour goes to the right list with the right text."""
    add_readers(database, clock.now(), 3)
    right = add_readers(database, clock.now(), 2, list_slug="notes", prefix="notes")
    held = publish(database, clock.now(), rules=_HOLD, title="Wrong")
    take_back(database, clock)
    again = publish(database, clock.now(), title="Right", list_slug="notes")
    assert (again.ring, again.note) == (
        True, f"campaign {held.campaign_id} had not begun, and takes the post as it is now"
    )  # fmt: skip
    Room(database, clock).plan(held.campaign_id)
    assert goes_to(database, held.campaign_id) == ("Right", "notes", [])
    assert written_to(database, held.campaign_id) == right


def test_what_an_operator_cancelled_stays_so_with_the_post_as_it_is_now(database: Database, clock: FakeClock) -> None:
    add_readers(database, clock.now(), 3)
    opened = publish(database, clock.now(), title="Wrong")
    room = Room(database, clock)
    room.control.cancel(opened.campaign_id)
    assert not publish(database, clock.now(), title="Right").ring
    assert campaign(database, opened.campaign_id).status == CampaignStatus.CANCELLED
    room.control.retry(opened.campaign_id, ["cancelled"])
    room.plan(opened.campaign_id)
    assert goes_to(database, opened.campaign_id)[0] == "Right"


# -- published again when it has begun, or is about to


def test_what_has_begun_goes_on_as_it_was_first_published(database: Database, clock: FakeClock) -> None:
    first = add_readers(database, clock.now(), 3)
    add_readers(database, clock.now(), 2, list_slug="notes", prefix="notes")
    room = Room(database, clock)
    opened = publish(database, clock.now(), title="First")
    room.plan(opened.campaign_id)
    take_back(database, clock)
    again = publish(database, clock.now(), title="Second", list_slug="notes", labels=["vip"])
    assert again.note == f"campaign {opened.campaign_id} goes on with what was not sent"
    room.control.tidy(opened.campaign_id)
    room.plan(opened.campaign_id)
    assert goes_to(database, opened.campaign_id) == ("First", "posts", [])
    assert written_to(database, opened.campaign_id) == first


def test_what_is_going_is_not_changed_under_the_planner(database: Database, clock: FakeClock) -> None:
    opened = publish(database, clock.now(), title="First")
    publish(database, clock.now(), title="Second", list_slug="notes")
    assert goes_to(database, opened.campaign_id) == ("First", "posts", [])


@pytest.mark.parametrize("fault", [False, True])
def test_a_planner_that_looked_before_does_nothing(database: Database, clock: FakeClock, fault: bool) -> None:
    """While it tries the mail, the post is taken back and published again as it should be."""
    add_readers(database, clock.now(), 3)
    right = add_readers(database, clock.now(), 2, list_slug="notes", prefix="notes")
    room = Room(database, clock)
    opened = publish(database, clock.now(), title="Wrong")

    def check(*_: object) -> None:
        take_back(database, clock)
        publish(database, clock.now(), title="Right", list_slug="notes")
        if fault:
            too_large()

    room.planner(check).run(opened.campaign_id)
    assert campaign(database, opened.campaign_id).status == CampaignStatus.PLANNING
    assert deliveries(database, opened.campaign_id) == []
    room.plan(opened.campaign_id)
    assert written_to(database, opened.campaign_id) == right


def test_a_first_slice_under_way_is_waited_for(database: Database, clock: FakeClock) -> None:
    """Or its rows would stand under a campaign that goes to others."""
    first = add_readers(database, clock.now(), 3)
    add_readers(database, clock.now(), 2, list_slug="notes", prefix="notes")
    opened = publish(database, clock.now(), title="First")
    other = Database(database.url.render_as_string(hide_password=False))

    def again() -> None:
        take_back(other, clock)
        publish(other, clock.now(), title="Second", list_slug="notes")

    thread = threading.Thread(target=again)

    class Planning(FakeClock):
        """Asked for the time in the middle of a slice."""

        def now(self) -> datetime:
            if not thread.ident:
                thread.start()
                time.sleep(0.5)
            return super().now()

    Room(database, Planning()).planner().run(opened.campaign_id)
    thread.join(30)
    other.close()
    assert written_to(database, opened.campaign_id) == first
    assert goes_to(database, opened.campaign_id) == ("First", "posts", [])
