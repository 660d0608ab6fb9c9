"""Claims: a fencing token over rows that may go; what must not go ends with its reason."""

from __future__ import annotations

from datetime import timedelta
from threading import Barrier, Thread

import pytest
from sqlalchemy import event, insert, select, update

from tests.ledger import assert_counters_agree, seed_campaign, statuses
from worker.delivery.claim import MAX_CLAIMS, Claimer
from worker.domain.audience import SubscriptionStatus
from worker.domain.campaign import CampaignStatus
from worker.domain.clock import FakeClock
from worker.domain.delivery import Kind
from worker.storage.database import Database
from worker.storage.models import CampaignRow, DeliveryRow, LeaseRow, SubscriberRow, SubscriptionRow, SuppressionRow
from worker.storage.outbox import Outgoing, put


@pytest.fixture
def claimer(database: Database, clock: FakeClock) -> Claimer:
    return Claimer(database, clock, "here:1.journal", timedelta(seconds=30))


def test_takes_the_oldest_rows_under_one_lease(database: Database, clock: FakeClock, claimer: Claimer) -> None:
    seeded = seed_campaign(database, clock.now(), 5)
    claim = claimer.campaign(seeded.campaign_id, {"": 3})
    assert claim is not None
    assert [one.id for one in claim.claimed] == list(seeded.deliveries[:3])
    assert claim.lease.open == 3
    assert claim.claimed[0].address == "reader0.post-1@example.com"
    assert statuses(database) == {"sending": 3, "queued": 2}
    with database.read() as connection:
        lease = connection.execute(select(LeaseRow)).one()
        held = connection.execute(select(DeliveryRow.lease_id).where(DeliveryRow.status == "sending")).scalars().all()
    assert set(held) == {lease.id} == {claim.lease.id}
    assert lease.expires_at == clock.now() + timedelta(seconds=30)
    assert_counters_agree(database)


def test_takes_several_destinations_at_once_and_tells_which_have_nothing(
    database: Database, clock: FakeClock, claimer: Claimer
) -> None:
    seeded = seed_campaign(database, clock.now(), 6)
    south, north = seeded.deliveries[:2], seeded.deliveries[2:]
    with database.write() as connection:
        connection.execute(update(DeliveryRow).where(DeliveryRow.id.in_(south)).values(destination="south"))
    claim = claimer.campaign(seeded.campaign_id, {"south": 1, "": 3, "gone": 5})
    assert claim is not None
    assert [one.id for one in claim.claimed] == [south[0], *north[:3]]
    assert [one.destination for one in claim.claimed] == ["south", "", "", ""]
    assert claim.lease.open == 4
    assert (claim.taken("south"), claim.taken(""), claim.taken("gone")) == (1, 3, 0)
    assert claim.without == {"gone"}
    assert_counters_agree(database)


def test_a_suspect_goes_alone_and_holds_up_no_other_destination(
    database: Database, clock: FakeClock, claimer: Claimer
) -> None:
    seeded = seed_campaign(database, clock.now(), 6)
    with database.write() as connection:
        suspects = update(DeliveryRow).where(DeliveryRow.id.in_(seeded.deliveries[:2]))
        connection.execute(suspects.values(destination="south", claims=MAX_CLAIMS - 1))
    claim = claimer.campaign(seeded.campaign_id, {"": 3, "south": 2})
    assert claim is not None
    assert [one.id for one in claim.claimed] == list(seeded.deliveries[2:5])
    assert claim.without == set()
    claim = claimer.campaign(seeded.campaign_id, {"south": 2, "": 3})
    assert claim is not None
    assert [one.id for one in claim.claimed] == [seeded.deliveries[0]]
    assert claim.without == set()
    assert statuses(database) == {"sending": 4, "queued": 2}


def test_two_at_once_never_take_the_same_row(database: Database, clock: FakeClock) -> None:
    seeded = seed_campaign(database, clock.now(), 60)
    taken: list[int] = []
    start = Barrier(3)

    def work(name: str) -> None:
        mine = Claimer(database, clock, name, timedelta(seconds=30))
        start.wait()
        while (claim := mine.campaign(seeded.campaign_id, {"": 7})) is not None:
            taken.extend(one.id for one in claim.claimed)

    threads = [Thread(target=work, args=(f"here:{n}",)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(seeded.deliveries)
    assert_counters_agree(database)


@pytest.mark.parametrize("status", [one for one in CampaignStatus if one not in ("planning", "sending")])
def test_a_campaign_that_is_not_going_gives_nothing(
    database: Database, clock: FakeClock, claimer: Claimer, status: CampaignStatus
) -> None:
    seeded = seed_campaign(database, clock.now(), 2, status=status)
    assert claimer.campaign(seeded.campaign_id, {"": 10}) is None
    assert statuses(database) == {"queued": 2}


def test_what_must_not_go_ends_with_its_reason(database: Database, clock: FakeClock, claimer: Claimer) -> None:
    seeded = seed_campaign(database, clock.now(), 6)
    left, suppressed, erased, late, deadly, good = seeded.deliveries
    with database.write() as connection:
        connection.execute(
            update(SubscriptionRow).where(SubscriptionRow.id == seeded.subscriptions[0])
            .values(status=SubscriptionStatus.UNSUBSCRIBED)
        )  # fmt: skip
        connection.execute(
            insert(SuppressionRow).values(address="reader1.post-1@example.com", publication="*", reason="operator",
                                          created_at=clock.now())
        )  # fmt: skip
        connection.execute(
            update(SubscriberRow).where(SubscriberRow.id == seeded.subscribers[2]).values(erased_at=clock.now())
        )
        connection.execute(update(DeliveryRow).where(DeliveryRow.id == late).values(expires_at=clock.now()))
        connection.execute(update(DeliveryRow).where(DeliveryRow.id == deadly).values(claims=MAX_CLAIMS))
    claim = claimer.campaign(seeded.campaign_id, {"": 10})
    assert claim is not None
    assert [one.id for one in claim.claimed] == [good]
    assert claim.ended == 5
    with database.read() as connection:
        rows = connection.execute(select(DeliveryRow.id, DeliveryRow.status, DeliveryRow.reason))
        ended = {row.id: (row.status, row.reason) for row in rows}
        address = connection.execute(select(DeliveryRow.address).where(DeliveryRow.id == erased)).scalar_one()
    assert address == "", "nobody would look for it again"
    assert ended == {
        left: ("suppressed", "unsubscribed"),
        suppressed: ("suppressed", "suppressed_address"),
        erased: ("cancelled", "erased"),
        late: ("expired", "expired"),
        deadly: ("failed", "our_fault"),
        good: ("sending", ""),
    }
    assert_counters_agree(database)


@pytest.mark.parametrize("written", ["Ana@example.com", "ANA@example.com", "ana@example.com"])
@pytest.mark.parametrize("publication", ["*", "daily"])
def test_an_address_that_a_reader_no_longer_has_is_looked_at_by_its_key(
    database: Database, clock: FakeClock, claimer: Claimer, written: str, publication: str
) -> None:
    """A mail was queued for it before the reader took another; a test mail is to nobody's at all."""
    seeded = seed_campaign(database, clock.now(), 3)
    with database.write() as connection:
        for delivery, address in zip(seeded.deliveries[:2], (written, "Zoé@example.com"), strict=True):
            connection.execute(update(DeliveryRow).where(DeliveryRow.id == delivery).values(address=address))
        for key in ("ana@example.com", "zoé@example.com"):
            connection.execute(insert(SuppressionRow).values(
                address=key, publication=publication, reason="operator", created_at=clock.now()
            ))  # fmt: skip
        test = put(connection, Outgoing("daily", Kind.TEST, written, "", "test:1", None), clock.now())
    assert test is not None
    claim = claimer.campaign(seeded.campaign_id, {"": 10})
    assert claim is not None
    assert [one.id for one in claim.claimed] == [seeded.deliveries[2]]
    mails = claimer.transactional([test])
    assert mails is not None
    assert (len(mails.claimed), mails.ended) == (0, 1)
    with database.read() as connection:
        ended = connection.execute(select(DeliveryRow.reason).where(DeliveryRow.status == "suppressed")).scalars().all()
    assert ended == ["suppressed_address"] * 3
    assert_counters_agree(database)


def test_another_publications_suppression_does_not_count(
    database: Database, clock: FakeClock, claimer: Claimer
) -> None:
    seeded = seed_campaign(database, clock.now(), 1)
    with database.write() as connection:
        connection.execute(
            insert(SuppressionRow).values(address="reader0.post-1@example.com", publication="weekly",
                                          reason="hard_bounce", created_at=clock.now())
        )  # fmt: skip
    claim = claimer.campaign(seeded.campaign_id, {"": 10})
    assert claim is not None
    assert len(claim.claimed) == 1


def test_a_pause_stops_the_next_claim(database: Database, clock: FakeClock, claimer: Claimer) -> None:
    seeded = seed_campaign(database, clock.now(), 2)
    assert claimer.campaign(seeded.campaign_id, {"": 1}) is not None
    with database.write() as connection:
        connection.execute(update(CampaignRow).values(status=CampaignStatus.PAUSED))
    assert claimer.campaign(seeded.campaign_id, {"": 1}) is None


def test_a_confirmation_names_all_that_its_click_confirms(
    database: Database, clock: FakeClock, claimer: Claimer
) -> None:
    seeded = seed_campaign(database, clock.now(), 1)
    with database.write() as connection:
        connection.execute(update(SubscriptionRow).values(status=SubscriptionStatus.PENDING))
        connection.execute(
            insert(SubscriptionRow).values(publication="daily", list_slug="weekly", created_at=clock.now(),
                                           subscriber_id=seeded.subscribers[0], status=SubscriptionStatus.PENDING)
        )  # fmt: skip
        outgoing = Outgoing(
            "daily", Kind.CONFIRMATION, "reader0@example.com", "", "confirm:1", None,
            subscriber_id=seeded.subscribers[0], subscription_id=seeded.subscriptions[0],
        )  # fmt: skip
        delivery = put(connection, outgoing, clock.now())
    assert delivery is not None
    claim = claimer.transactional([delivery])
    assert claim is not None
    assert claim.claimed[0].lists == ("posts", "weekly")


def test_a_claim_moves_its_tallies_in_one_order(database: Database, clock: FakeClock) -> None:
    """In two steps, two claims that meet in the same slices could wait for each other's tallies crosswise."""
    seeded = seed_campaign(database, clock.now(), 3)
    with database.write() as connection:
        connection.execute(insert(SuppressionRow).values(
            address="reader1.post-1@example.com", publication="daily", reason="operator", created_at=clock.now()
        ))  # fmt: skip
    seen: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda *given: seen.append(given[2]))
    claim = Claimer(database, clock, "here:1.journal", timedelta(seconds=30)).campaign(seeded.campaign_id, {"": 9})
    assert claim is not None
    assert (len(claim.claimed), claim.ended) == (2, 1)
    assert len([one for one in seen if one.startswith("INSERT INTO tallies")]) == 1
    assert_counters_agree(database)


@pytest.mark.parametrize("name", ["Ana \"X\" O'Neil \\ %s ? {}", "Zoë 😀 \u2028 \x7f\t\x01", "[1, null]", "1e5", ""])
def test_what_a_reader_is_called_comes_as_it_is(
    database: Database, clock: FakeClock, claimer: Claimer, name: str
) -> None:
    """SQLite hands a claim over as one JSON value."""
    seeded = seed_campaign(database, clock.now(), 2)
    later, never = clock.now() + timedelta(days=1, microseconds=7), None
    with database.write() as connection:
        connection.execute(update(SubscriberRow).values(name=name, locale="pt-BR"))
        connection.execute(update(DeliveryRow).values(expires_at=later, first_attempt_at=never, attempts=2**31 - 1))
    claim = claimer.campaign(seeded.campaign_id, {"": 10})
    assert claim is not None
    assert [(one.name, one.locale, one.kind, one.address) for one in claim.claimed] == [
        (name, "pt-BR", Kind.NEW_POST, f"reader{number}.post-1@example.com") for number in range(2)
    ]
    for one in claim.claimed:
        assert (one.expires_at, one.first_attempt_at, one.created_at) == (later, None, clock.now())
        assert (one.attempts, one.generation, one.lists) == (2**31 - 1, 0, ("posts",))
