"""One campaign for a post, whatever is published how often; what must not go by itself is held."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from tests.integration.campaigns.readers import (
    DAILY,
    RULES,
    Room,
    add_readers,
    campaign,
    deliveries,
    publish,
    set_status,
    take_back,
)
from tests.ledger import assert_counters_agree, statuses
from worker.campaigns.opening import CampaignRules, Opened
from worker.domain.campaign import CampaignReason, CampaignStatus
from worker.domain.clock import FakeClock
from worker.domain.errors import Conflict, PermanentError
from worker.storage.database import Database
from worker.storage.models import CampaignRow


def test_a_post_opens_a_campaign_to_be_planned(database: Database, clock: FakeClock) -> None:
    add_readers(database, clock.now(), 3)
    opened = publish(database, clock.now())
    row = campaign(database, opened.campaign_id)
    assert (opened.ring, opened.note) == (True, f"campaign {opened.campaign_id}")
    assert (row.status, row.list_slug, row.plan_cursor, row.plan_until) == ("planning", "posts", 0, 3)
    assert row.released_at == row.created_at == clock.now()


def test_the_same_post_again_has_its_campaign_already(database: Database, clock: FakeClock) -> None:
    first = publish(database, clock.now())
    again = publish(database, clock.now())
    assert (again.campaign_id, again.ring, again.tidy) == (first.campaign_id, False, False)
    assert again.note == f"this post already has campaign {first.campaign_id}, which is planning"


def test_another_publication_may_have_a_post_of_the_same_id(database: Database, clock: FakeClock) -> None:
    from dataclasses import replace

    other = publish(database, clock.now(), publication=replace(DAILY, slug="weekly"))
    assert publish(database, clock.now()).campaign_id != other.campaign_id


def test_ten_at_once_are_one_campaign(database: Database, clock: FakeClock) -> None:
    found = in_parallel(database, [lambda one: publish(one, clock.now())] * 10)
    assert len({opened.campaign_id for opened in found}) == 1
    assert sum(opened.ring for opened in found) == 1


def test_posts_at_once_never_pass_the_hours_limit(database: Database, clock: FakeClock) -> None:
    def post(n: int):  # type: ignore[no-untyped-def]
        return lambda one: publish(one, clock.now(), post_id=f"post-{n}", rules=CampaignRules(3, None))

    found = in_parallel(database, [post(n) for n in range(8)])
    assert sum(opened.ring for opened in found) == 3


def in_parallel(database: Database, jobs) -> list[Opened]:  # type: ignore[no-untyped-def]
    found: list[Opened] = []
    barrier = threading.Barrier(len(jobs))

    def run(job) -> None:  # type: ignore[no-untyped-def]
        own = Database(database.url.render_as_string(hide_password=False))
        barrier.wait()
        found.append(job(own))
        own.close()

    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == len(jobs)
    return found


def test_what_goes_over_the_hours_limit_is_held_and_says_so(database: Database, clock: FakeClock) -> None:
    rules = CampaignRules(per_hour=2, max_age=None)
    for n in range(2):
        assert publish(database, clock.now(), post_id=f"post-{n}", rules=rules).ring
    held = publish(database, clock.now(), post_id="post-9", rules=rules)
    row = campaign(database, held.campaign_id)
    assert (row.status, row.reason, held.ring) == (CampaignStatus.PAUSED, CampaignReason.HELD_RATE, False)
    assert "held: too many" in held.note
    assert f"pressrun resume {held.campaign_id}" in held.note


def test_a_held_campaign_does_not_count_until_it_is_released(database: Database, clock: FakeClock) -> None:
    rules = CampaignRules(per_hour=1, max_age=None)
    publish(database, clock.now(), post_id="first", rules=rules)
    held = publish(database, clock.now(), post_id="held", rules=rules)
    clock.advance(minutes=61)
    Room(database, clock).control.resume(held.campaign_id)
    assert not publish(database, clock.now(), post_id="next", rules=rules).ring
    clock.advance(minutes=61)
    assert publish(database, clock.now(), post_id="later", rules=rules).ring


def test_a_publications_own_limit_wins(database: Database, clock: FakeClock) -> None:
    from dataclasses import replace

    busy = replace(DAILY, campaigns_per_hour=0)
    assert not publish(database, clock.now(), publication=busy).ring


@pytest.mark.parametrize(("days", "held"), [(2, True), (0, False)])
def test_an_old_post_is_held_where_the_setting_says_so(
    database: Database, clock: FakeClock, days: int, held: bool
) -> None:
    rules = CampaignRules(per_hour=10, max_age=timedelta(days=1))
    at = (clock.now() - timedelta(days=days)).isoformat()
    opened = publish(database, clock.now(), rules=rules, published_at=at)
    assert opened.ring is not held
    assert (campaign(database, opened.campaign_id).reason == CampaignReason.HELD_AGE) is held


def test_a_post_without_a_date_is_not_old(database: Database, clock: FakeClock) -> None:
    rules = CampaignRules(per_hour=10, max_age=timedelta(days=1))
    assert publish(database, clock.now(), rules=rules, published_at="yesterday").ring


def test_unpublished_then_published_again_sends_only_what_was_not_sent(database: Database, clock: FakeClock) -> None:
    add_readers(database, clock.now(), 10)
    room = Room(database, clock)
    opened = publish(database, clock.now())
    room.plan(opened.campaign_id)
    ids = deliveries(database, opened.campaign_id)
    set_status(database, ids[:4], "sent")
    set_status(database, ids[4:6], "deferred")

    back = take_back(database, clock)
    assert back is not None
    assert (back.tidy, back.ring) == (True, False)
    row = campaign(database, opened.campaign_id)
    assert (row.status, row.reason) == (CampaignStatus.CANCELLED, CampaignReason.UNPUBLISHED)
    room.control.tidy(opened.campaign_id)
    assert statuses(database) == {"sent": 4, "cancelled": 6}

    again = publish(database, clock.now())
    assert (again.campaign_id, again.ring, again.tidy) == (opened.campaign_id, True, True)
    room.control.tidy(opened.campaign_id)
    assert statuses(database) == {"sent": 4, "queued": 6}
    row = campaign(database, opened.campaign_id)
    assert (row.status, row.reason, row.finished_at) == (CampaignStatus.SENDING, "", None)
    assert_counters_agree(database)


def test_published_again_before_the_rows_were_cancelled(database: Database, clock: FakeClock) -> None:
    add_readers(database, clock.now(), 5)
    room = Room(database, clock)
    opened = publish(database, clock.now())
    room.plan(opened.campaign_id)
    take_back(database, clock)
    publish(database, clock.now())
    for _ in range(2):
        room.control.tidy(opened.campaign_id)
    assert statuses(database) == {"queued": 5}
    assert campaign(database, opened.campaign_id).finished_at is None


def test_unpublished_while_it_is_planned_goes_on_where_it_was(database: Database, clock: FakeClock) -> None:
    add_readers(database, clock.now(), 5)
    room = Room(database, clock)
    opened = publish(database, clock.now())
    take_back(database, clock)
    room.plan(opened.campaign_id)
    assert deliveries(database, opened.campaign_id) == []
    publish(database, clock.now())
    room.plan(opened.campaign_id)
    assert statuses(database) == {"queued": 5}


def test_what_an_operator_cancelled_is_not_reopened_by_publishing(database: Database, clock: FakeClock) -> None:
    opened = publish(database, clock.now())
    Room(database, clock).control.cancel(opened.campaign_id)
    again = publish(database, clock.now())
    assert not again.ring
    assert "which is cancelled" in again.note


def test_unpublishing_what_was_held_is_no_way_around_it(database: Database, clock: FakeClock) -> None:
    rules = CampaignRules(per_hour=0, max_age=None)
    held = publish(database, clock.now(), rules=rules)
    take_back(database, clock)
    again = publish(database, clock.now(), rules=rules)
    assert (again.campaign_id, again.ring) == (held.campaign_id, False)
    assert campaign(database, held.campaign_id).status == CampaignStatus.PAUSED
    with database.read() as connection:
        assert connection.execute(select(func.count()).select_from(CampaignRow)).scalar_one() == 1


def test_a_mended_post_is_tried_again_where_nobody_got_the_broken_one(database: Database, clock: FakeClock) -> None:
    add_readers(database, clock.now(), 2)
    room = Room(database, clock)
    opened = publish(database, clock.now())
    from worker.domain.errors import TemplateFault

    def broken(*_: object) -> None:
        raise TemplateFault("body.html", 3, "no such field")

    room.planner(broken).run(opened.campaign_id)
    assert campaign(database, opened.campaign_id).status == CampaignStatus.FAILED
    again = publish(database, clock.now(), published_at="2025-02-09T15:00:00+00:00")
    assert (again.campaign_id, again.ring) == (opened.campaign_id, True)
    assert campaign(database, opened.campaign_id).post["published_at"] == "2025-02-09T15:00:00+00:00"
    room.plan(opened.campaign_id)
    assert statuses(database) == {"queued": 2}


def test_a_failed_campaign_that_had_not_begun_is_cancelled_too(database: Database, clock: FakeClock) -> None:
    add_readers(database, clock.now(), 3)
    room = Room(database, clock)
    opened = publish(database, clock.now())

    def broken(*_: object) -> None:
        raise PermanentError("the mail has 120 KB; cut the body")

    room.planner(broken).run(opened.campaign_id)
    take_back(database, clock)
    row = campaign(database, opened.campaign_id)
    assert (row.status, row.reason) == (CampaignStatus.CANCELLED, CampaignReason.UNPUBLISHED)
    with pytest.raises(Conflict, match="is cancelled"):
        room.control.retry(opened.campaign_id)


def test_unpublishing_what_was_never_a_campaign(database: Database, clock: FakeClock) -> None:
    assert take_back(database, clock, "post-7") is None


def test_unpublishing_what_is_finished_changes_nothing(database: Database, clock: FakeClock) -> None:
    opened = publish(database, clock.now(), rules=RULES)
    Room(database, clock).plan(opened.campaign_id)
    back = take_back(database, clock)
    assert back is not None
    assert back.note == f"campaign {opened.campaign_id} is finished already"
    assert campaign(database, opened.campaign_id).status == CampaignStatus.FINISHED
