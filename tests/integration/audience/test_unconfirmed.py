"""Sign-ups that nobody confirmed are forgotten, with all that testifies to them; everybody else stays."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import insert, select, update

from tests.integration.audience.conftest import DAILY, KEYS, RULES, Desk
from tests.ledger import assert_counters_agree
from worker.audience import confirm, leave
from worker.audience.unconfirmed import SET_SIZE, Unconfirmed
from worker.bootstrap import build
from worker.delivery.due import Due
from worker.domain.audience import SubscriptionStatus
from worker.domain.clock import FakeClock
from worker.domain.doorbell import RecordingDoorbell
from worker.domain.tokens import Purpose
from worker.settings import Settings
from worker.station import Station
from worker.storage.models import (
    ConsentRow,
    DeliveryRow,
    EventRow,
    LabelRow,
    SubscriberRow,
    SubscriptionRow,
)

KEEP = RULES.confirm_lifetime + timedelta(days=30)


@pytest.fixture
def unconfirmed(desk: Desk) -> Unconfirmed:
    return Unconfirmed(desk.database, desk.clock, KEEP)


def _later(desk: Desk, after: timedelta = KEEP) -> None:
    """Time passes, mails that were never sent expire, and somebody else signs up: the newest one stays anyway."""
    desk.clock.advance(seconds=after.total_seconds() + 1)
    Due(desk.database, desk.clock, timedelta(days=400), timedelta(hours=4)).expired()
    desk.sign_up("newest@example.com", "notes")


def test_it_goes_with_its_evidence_and_its_reader(desk: Desk, unconfirmed: Unconfirmed) -> None:
    reader = desk.sign_up("Ana@example.com", "posts", "notes", ip="203.0.113.7", labels=("vip",)).subscriber_id
    with desk.database.write() as connection:
        connection.execute(
            insert(EventRow).values(
                publication="daily", source="/x", event_id="1", type="subscriber.created", received_at=desk.now,
                body_hash="", data={}, status="accepted", subscriber_id=reader,
            )
        )  # fmt: skip
        connection.execute(update(DeliveryRow).values(reply="no mailbox Ana@example.com"))
    link = desk.token(Purpose.UNSUBSCRIBE)
    _later(desk)
    assert unconfirmed.forget() == 2
    assert list(desk.standing()) == [("daily", "newest@example.com", "notes")]
    assert [one.address for one in desk.rows(SubscriberRow)] == ["newest@example.com"]
    assert len(desk.rows(ConsentRow)) == 1
    assert desk.rows(LabelRow) == []
    # the event keeps it from coming back, the mail stays in the counts, neither names anybody
    assert [one.subscriber_id for one in desk.rows(EventRow)] == [None]
    mail, _ = desk.rows(DeliveryRow)
    assert (mail.status, mail.address, mail.reply) == ("expired", "", "")
    assert (mail.subscriber_id, mail.subscription_id) == (None, None)
    assert_counters_agree(desk.database)
    # what hung on its id hangs on nobody else's now
    desk.clock.advance(days=1)
    desk.sign_up("cy@example.com")
    with desk.database.write() as connection:
        assert leave.leave(connection, KEYS, link, "", desk.now, one_click=True) is None
    assert desk.status(email="cy@example.com") == ("pending", 0)


def test_it_has_its_time(desk: Desk, unconfirmed: Unconfirmed) -> None:
    desk.sign_up()
    _later(desk, KEEP - timedelta(minutes=1))
    assert unconfirmed.forget() == 0
    assert desk.status() == ("pending", 0)


def test_who_asked_again_stays(desk: Desk, unconfirmed: Unconfirmed) -> None:
    desk.sign_up()
    desk.clock.advance(days=20)
    desk.sign_up()
    _later(desk, timedelta(days=20))
    assert unconfirmed.forget() == 0
    _later(desk, KEEP)
    assert unconfirmed.forget() == 1


def test_who_was_on_the_list_or_left_it_stays_on_record(desk: Desk, unconfirmed: Unconfirmed) -> None:
    desk.sign_up("active@example.com")
    with desk.database.write() as connection:
        confirm.confirm(connection, KEYS, RULES, {"daily": DAILY}, desk.token(Purpose.CONFIRM), "", desk.now)
    desk.sign_up("back@example.com")
    with desk.database.write() as connection:
        leave.leave(connection, KEYS, desk.token(Purpose.UNSUBSCRIBE), "", desk.now, one_click=True)
    desk.clock.advance(days=1)
    desk.sign_up("back@example.com")
    before = desk.consents()
    _later(desk)
    assert unconfirmed.forget() == 0
    assert desk.consents()[: len(before)] == before


def test_a_reader_of_another_list_stays_with_the_address_of_their_mails(
    desk: Desk, unconfirmed: Unconfirmed
) -> None:
    desk.sign_up("ana@example.com", "posts", confirmed=True)
    desk.sign_up("ana@example.com", "notes")
    _later(desk)
    assert unconfirmed.forget() == 1
    assert desk.status("posts") == ("active", 0)
    assert ("daily", "ana@example.com", "notes") not in desk.standing()
    assert desk.mails()[0] == ("confirmation", "ana@example.com")


def test_a_mail_on_its_way_holds_it(desk: Desk, unconfirmed: Unconfirmed) -> None:
    desk.sign_up()
    desk.clock.advance(seconds=KEEP.total_seconds() + 1)
    desk.sign_up("newest@example.com")
    assert unconfirmed.forget() == 0
    Due(desk.database, desk.clock, timedelta(days=400), timedelta(hours=4)).expired()
    assert unconfirmed.forget() == 1


def test_the_newest_stays_since_its_id_would_be_given_away_again(desk: Desk, unconfirmed: Unconfirmed) -> None:
    desk.sign_up()
    desk.clock.advance(seconds=KEEP.total_seconds() + 1)
    Due(desk.database, desk.clock, timedelta(days=400), timedelta(hours=4)).expired()
    assert unconfirmed.forget() == 0
    # that of the newest consent, too: dedupe keys are made of it
    desk.sign_up("bo@example.com")
    with desk.database.write() as connection:
        moved = {"subscription_id": 1, "at": desk.now - 2 * KEEP}
        connection.execute(update(ConsentRow).where(ConsentRow.id == 2).values(moved))
    assert unconfirmed.forget() == 0


def _pending_and_active(desk: Desk, n: int) -> int:
    """Half of each, by turns; how many are pending."""
    with desk.database.write() as connection:
        connection.execute(
            insert(SubscriberRow),
            [{"publication": "daily", "address": f"r{i}@example.com", "email": f"r{i}@example.com",
              "domain": "example.com", "created_at": desk.now} for i in range(n)],
        )  # fmt: skip
        ids = list(connection.execute(select(SubscriberRow.id)).scalars())
        connection.execute(
            insert(SubscriptionRow),
            [{"publication": "daily", "list_slug": "posts", "subscriber_id": one, "created_at": desk.now,
              "status": SubscriptionStatus.PENDING if one % 2 else SubscriptionStatus.ACTIVE} for one in ids],
        )  # fmt: skip
    return len([one for one in ids if one % 2])


def test_many_go_in_sets(desk: Desk, unconfirmed: Unconfirmed) -> None:
    n = 2 * SET_SIZE + 60
    pending = _pending_and_active(desk, n)
    _later(desk)
    assert unconfirmed.forget() == pending
    assert len(desk.rows(SubscriberRow)) == n - pending + 1


def test_where_it_takes_long_the_next_look_goes_on(desk: Desk) -> None:
    class SlowClock(FakeClock):
        def ticks(self) -> float:
            self.advance(milliseconds=400)
            return super().ticks()

    pending = _pending_and_active(desk, 60)
    _later(desk)
    unconfirmed = Unconfirmed(desk.database, SlowClock(desk.now), KEEP)
    first = unconfirmed.forget()
    assert 0 < first < pending
    # it had begun with ten, and went on with less
    assert first < 20
    assert unconfirmed.forget() + first <= pending


def test_the_hourly_task_looks_for_it(desk: Desk, database_url: str, make_settings: Callable[..., Settings]) -> None:
    desk.sign_up()
    _later(desk)
    settings = make_settings(PRESSRUN_DATABASE_URL=database_url, PRESSRUN_PENDING_RETENTION_DAYS="30")
    system = build(settings, {}, RecordingDoorbell())
    system.clock = desk.clock
    assert Station(system).retention.run() == {"retention": 0, "old_campaigns": 0, "unconfirmed": 1}
    system.database.close()
