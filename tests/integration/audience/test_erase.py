"""Erasure: nothing of the person is left in any table, and every count is what it was."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert

from tests.integration.audience.conftest import Desk
from tests.ledger import assert_counters_agree, seed_campaign, statuses
from worker.audience.addresses import parse_address
from worker.audience.erase import Erased, erase
from worker.audience.suppression import EVERYBODY, suppress, suppressions
from worker.delivery.claim import Claimer
from worker.domain.audience import SuppressionReason
from worker.domain.delivery import Kind
from worker.domain.publication import Publication
from worker.storage.database import Database
from worker.storage.models import AttemptRow, DeliveryRow, EventRow, SubscriberRow
from worker.storage.outbox import Outgoing, put

ANA = "Ana.Lopez@example.com"


def run(desk: Desk, email: str = ANA) -> Erased:
    with desk.database.write() as connection:
        return erase(connection, parse_address(email), desk.now)


def event(desk: Desk, number: int, kind: str, data: dict[str, Any], subscriber_id: int | None) -> None:
    with desk.database.write() as connection:
        connection.execute(
            insert(EventRow).values(
                publication="daily", source="https://blog.example", event_id=f"e{number}", type=kind,
                received_at=desk.now, body_hash="0" * 64, data=data, status="accepted", note="",
                subscriber_id=subscriber_id,
            )
        )  # fmt: skip


@pytest.fixture
def known(desk: Desk, weekly: Publication) -> Desk:
    """Ana is known wherever somebody can be; so is Joana, whose address ends like hers."""
    one = desk.sign_up(ANA, ip="203.0.113.7", name="Ana López", labels=("vip",))
    desk.sign_up(ANA, publication=weekly, name="Ana López")
    desk.clock.advance(minutes=10)
    desk.sign_up("ana.lopez@EXAMPLE.com", publication=weekly)
    desk.sign_up("jo" + ANA.lower(), name="Joana", ip="203.0.113.8", labels=("vip",))
    subscriber = {"subscriber": {"email": ANA, "name": "Ana López"}}
    event(desk, 1, "subscriber.created", subscriber, one.subscriber_id)
    event(desk, 2, "subscriber.updated", {"subscriber": {"email": "ANA.LOPEZ@example.com"}}, None)
    event(desk, 3, "page.viewed", {"text": f"mailto:{ANA.lower()}?x"}, None)
    event(desk, 4, "page.viewed", {"by": ["jo" + ANA.lower(), 7, None]}, None)
    event(desk, 5, "post.published", {"post": {"title": "About ana.lopez@example.com"}}, None)
    with desk.database.write() as connection:
        for n, address in enumerate((ANA, "somebody@example.com")):
            put(connection, Outgoing("daily", Kind.TEST, address, "", f"test:{n}", None), desk.now)
        connection.execute(
            insert(AttemptRow).values(delivery_id=1, at=desk.now, outcome="temporary", code=450, duration_ms=3,
                                      reply=f"450 <{ANA}> try later")
        )  # fmt: skip
    return desk


def test_nothing_of_the_person_is_left_and_nobody_else_is_touched(known: Desk) -> None:
    before = statuses(known.database)
    claimer = Claimer(known.database, known.clock, "here:1", timedelta(seconds=30))
    assert claimer.transactional([1]) is not None, "one of her mails is just being sent"
    done = run(known, "ana.lopez@example.com")
    assert done == Erased(
        subscribers=2, deliveries=3, cancelled=3, attempts=1, consents=3, labels=1, events=3, suppressions_kept=0
    )
    text = json.dumps(known.dump(), default=str).casefold()
    for word in ("lópez", "l\\u00f3pez", "203.0.113.7", "450 <"):
        assert word not in text
    assert text.count("ana.lopez@example.com") == text.count("joana.lopez@example.com") + 1, "and the post's own words"
    assert "joana" in text
    assert "203.0.113.8" in text
    after = statuses(known.database)
    assert sum(after.values()) == sum(before.values())
    assert after["cancelled"] == 3
    assert {one.reason for one in known.rows(DeliveryRow) if one.status == "cancelled"} == {"erased"}
    assert_counters_agree(known.database)


def test_once_more_finds_nothing(known: Desk) -> None:
    assert run(known).anything
    before = known.dump()
    again = run(known)
    assert not again.anything
    assert known.dump() == before


def test_the_erased_may_come_back_as_somebody_new(known: Desk) -> None:
    run(known)
    result = known.sign_up(ANA)
    assert result.deliveries
    reader = next(one for one in known.rows(SubscriberRow) if one.id == result.subscriber_id)
    assert (reader.address, reader.name) == ("ana.lopez@example.com", "")
    assert known.status(email="ana.lopez@example.com") == ("pending", 0)


def test_what_was_suppressed_stays_so_without_its_reason_and_nothing_new_is_suppressed(known: Desk) -> None:
    assert run(known).suppressions_kept == 0
    known.sign_up(ANA)
    with known.database.write() as connection:
        suppress(connection, parse_address(ANA), EVERYBODY, SuppressionReason.COMPLAINT, "abuse report 7", known.now)
    assert run(known).suppressions_kept == 1
    with known.database.read() as connection:
        (kept,) = suppressions(connection, parse_address(ANA))
    assert (kept.reason, kept.evidence) == (SuppressionReason.ERASED, "")


def test_a_campaign_goes_on_without_them(database: Database, desk: Desk) -> None:
    seeded = seed_campaign(database, desk.now, 3)
    done = run(desk, "reader1.post-1@example.com")
    assert (done.deliveries, done.cancelled) == (1, 1)
    claim = Claimer(database, desk.clock, "here:1", timedelta(seconds=30)).campaign(seeded.campaign_id, {"": 10})
    assert claim is not None
    assert [one.id for one in claim.claimed] == [seeded.deliveries[0], seeded.deliveries[2]]
    assert statuses(database) == {"sending": 2, "cancelled": 1}
    assert_counters_agree(database)
