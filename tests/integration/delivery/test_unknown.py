"""Unknown outcomes: every way of getting one, held or sent again, counted, and released by hand.

RFC 5321 §4.5.3.2.6: a conversation cut between the final dot and its answer may have been taken.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import delete, update

from tests.ledger import assert_counters_agree, seed_campaign, statuses
from tests.smtpd import Rule, SmtpServer
from worker.delivery.claim import Claimer
from worker.delivery.journal import Journal
from worker.delivery.parcels import Result
from worker.delivery.record import RecordPolicy
from worker.delivery.recover import Recovery
from worker.domain.clock import FakeClock
from worker.domain.delivery import DeliveryStatus, Kind
from worker.domain.errors import Conflict, NotFound
from worker.domain.replies import Outcome
from worker.domain.retry import RetryPolicy
from worker.station import Station
from worker.storage.database import Database
from worker.storage.models import DeliveryRow, LeaseRow
from worker.storage.outbox import Outgoing, put

WAYS = {
    "cut after the final dot": Rule("dot", cut=True, accept=True, times=1),
    "silent until the deadline": Rule("dot", silent=True, accept=True, times=1),
    "an answer after the deadline": Rule("dot", delay=2.5, times=1),
    "an answer that is garbage": Rule("dot", reply="hello there", accept=True, times=1),
    "silent in the body": Rule("body", silent=True, times=1),
    "cut in the body": Rule("body", cut=True, times=1),
}
Make = Callable[..., Station]


def seed(database: Database, station_: Station, kind: Kind) -> int:
    """One delivery of a campaign, or a test mail."""
    now = station_.system.clock.now()
    seeded = seed_campaign(database, now, 1)
    if kind is Kind.NEW_POST:
        return seeded.deliveries[0]
    with database.write() as connection:
        connection.execute(update(DeliveryRow).values(status="sent"))
        made = put(connection, Outgoing(
            "daily", Kind.TEST, "me@example.com", "", "test:1", None, shows_campaign_id=seeded.campaign_id
        ), now)  # fmt: skip
    assert made is not None
    return made


def send(station_: Station, kind: Kind) -> None:
    if kind is Kind.NEW_POST:
        station_.bulk.turn(1)
    else:
        station_.transactional.run()
    station_.press.drain(20)


def status_of(database: Database, delivery_id: int) -> str:
    with database.read() as connection:
        found = connection.execute(
            DeliveryRow.__table__.select().with_only_columns(DeliveryRow.status).where(DeliveryRow.id == delivery_id)
        )
        status: str = found.scalar_one()
    return status


@pytest.mark.parametrize("kind", [Kind.NEW_POST, Kind.TEST])
@pytest.mark.parametrize("way", WAYS)
def test_held_listed_counted_and_released_by_hand(
    station: Make, database: Database, redis_client: Redis, way: str, kind: Kind
) -> None:
    with SmtpServer([WAYS[way]]) as server:
        one = station(
            server.url, PRESSRUN_UNKNOWN_BULK="hold", PRESSRUN_UNKNOWN_TRANSACTIONAL="hold",
            PRESSRUN_SMTP_DONE_TIMEOUT_SECONDS="1.0",
        )  # fmt: skip
        delivery = seed(database, one, kind)
        send(one, kind)
        assert status_of(database, delivery) == "unknown"
        with database.read() as connection:
            (listed,) = one.system.delivery_views.with_status(connection, "unknown")
        assert (listed["id"], listed["reason"]) == (delivery, "unknown_outcome")
        assert [attempt["outcome"] for attempt in listed["attempts"]] == ["unknown"]
        one.system.meters.flush()
        lane = "bulk" if kind is Kind.NEW_POST else "transactional"
        assert {key: float(n) for key, n in redis_client.hgetall("pressrun:meters").items() if "unknown" in key} == {
            f'["unknown_outcomes", ["{lane}"], ""]': 1.0
        }
        one.system.replay.again(delivery)
        send(one, kind)
        server.wait_for(lambda seen: bool(seen.messages))
        ids = {message.message_id for message in server.messages}
    assert status_of(database, delivery) == "sent"
    # if it came twice, then as the same message
    assert ids == {listed["message_id"]}
    with database.read() as connection:
        found = one.system.delivery_views.one(connection, delivery)
    assert [attempt["outcome"] for attempt in found["attempts"]][:1] == ["unknown"]
    if kind is Kind.NEW_POST:
        assert_counters_agree(database)


@pytest.mark.parametrize("kind", [Kind.NEW_POST, Kind.TEST])
@pytest.mark.parametrize("way", WAYS)
def test_sent_again_by_itself(station: Make, database: Database, way: str, kind: Kind) -> None:
    with SmtpServer([WAYS[way]]) as server:
        one = station(
            server.url, PRESSRUN_RETRY_BASE_SECONDS="0.001", PRESSRUN_SMTP_DONE_TIMEOUT_SECONDS="1.0"
        )
        delivery = seed(database, one, kind)
        send(one, kind)
        assert status_of(database, delivery) == "deferred"
        assert one.system.due.retries() == 1
        send(one, kind)
        assert len({message.message_id for message in server.messages}) == 1
    assert status_of(database, delivery) == "sent"


@pytest.mark.parametrize(("policy", "status"), [("hold", "unknown"), ("retry", "deferred")])
@pytest.mark.parametrize("way", ["killed between two lines", "its lease is gone", "stopped for too long"])
def test_a_process_that_died(
    database: Database, clock: FakeClock, tmp_path: Path, policy: str, status: str, way: str
) -> None:
    """The body was begun and no outcome written; or nobody can tell any more who was at it."""
    seeded = seed_campaign(database, clock.now(), 2)
    journal = Journal(tmp_path)
    claim = Claimer(database, clock, journal.owner, timedelta(seconds=30)).campaign(seeded.campaign_id, {"": 1})
    assert claim is not None
    journal.body_begins(claim.claimed[0])
    if way == "stopped for too long":
        clock.advance(seconds=31)
    else:
        os.close(journal._fd)
    if way == "its lease is gone":
        with database.write() as connection:
            connection.execute(delete(LeaseRow))
    told: list[Result] = []
    rules = RecordPolicy(RetryPolicy(), policy, policy, lambda _low, high: high)
    assert Recovery(database, clock, rules, tmp_path, told.extend).run() == 1
    assert statuses(database) == {status: 1, "queued": 1}
    assert [one.exchange and one.exchange.judgement.outcome for one in told] == [Outcome.UNKNOWN]
    assert_counters_agree(database)
    assert Recovery(database, clock, rules, tmp_path, told.extend).run() == 0


def test_considered_sent(station: Make, database: Database) -> None:
    with SmtpServer([Rule("dot", cut=True, accept=True)]) as server:
        one = station(server.url, PRESSRUN_UNKNOWN_BULK="hold")
        seeded = seed_campaign(database, one.system.clock.now(), 5)
        send(one, Kind.NEW_POST)
        assert statuses(database) == {"unknown": 5}
        one.system.replay.consider_sent(seeded.deliveries[0])
        with pytest.raises(Conflict, match="is sent; only what is unknown can be considered sent"):
            one.system.replay.consider_sent(seeded.deliveries[0])
        assert one.system.replay.consider_campaign_sent(seeded.campaign_id).n == 4
        assert len({message.rcpt for message in server.messages}) == len(server.messages) == 5
    assert statuses(database) == {str(DeliveryStatus.SENT): 5}
    with pytest.raises(NotFound):
        one.system.replay.consider_sent(4711)
    with pytest.raises(NotFound):
        one.system.replay.consider_campaign_sent(4711)
    assert_counters_agree(database)
