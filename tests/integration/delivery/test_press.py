"""The press with everything behind it: claims, real templates, a real SMTP server, the ledger."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from email import message_from_bytes
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import select, update

from tests.ledger import POST, assert_counters_agree, seed_campaign, statuses
from tests.smtpd import Rule, SmtpServer
from worker.campaigns.proof import put_proof
from worker.delivery import bulk
from worker.delivery.claim import Claimer
from worker.delivery.journal import Journal
from worker.delivery.limits import Limits
from worker.delivery.press import Press
from worker.delivery.throttling import Limit
from worker.domain.campaign import CampaignStatus
from worker.settings import Settings
from worker.station import Station
from worker.storage.database import Database
from worker.storage.models import CampaignRow, DeliveryRow, LeaseRow


def test_a_turn_sends_a_campaign(station: Callable[..., Station], database: Database) -> None:
    with SmtpServer() as server:
        one = station(server.url)
        seeded = seed_campaign(database, one.system.clock.now(), 60)
        turned = one.bulk.turn(seeded.campaign_id)
        assert turned.handed_over == 60
        one.press.drain(20)
        messages = list(server.messages)
    assert statuses(database) == {"sent": 60}
    assert len({message.rcpt for message in messages}) == len({message.message_id for message in messages}) == 60
    assert all(message.mail_from.startswith("b+") for message in messages)
    with database.read() as connection:
        assert connection.execute(select(LeaseRow)).all() == []
    assert_counters_agree(database)


def test_what_a_dead_process_left_is_counted_by_whoever_comes_first(
    station: Callable[..., Station], database: Database, redis_client: Redis
) -> None:
    """A process that is started again comes before the sweep does; the alert must see it all the same."""
    one = station("smtp://127.0.0.1:1")
    seeded = seed_campaign(database, one.system.clock.now(), 3)
    dead = Journal(one.system.settings.journal_dir)
    assert Claimer(database, one.system.clock, dead.owner, timedelta(hours=1)).campaign(seeded.campaign_id, {"": 2})
    os.close(dead._fd)
    assert one.press
    one.system.meters.flush()
    assert statuses(database) == {"queued": 3}
    assert float(redis_client.hget("pressrun:meters", '["sweep_findings", ["expired_leases"], ""]') or 0) == 1.0


def test_a_throttled_destination_does_not_slow_the_others(station: Callable[..., Station], database: Database) -> None:
    """Ten rows for a destination that takes one an hour stand before the others; those go all the same."""
    with SmtpServer() as server:
        one = station(server.url)
        slow = one.system.shaping.groups[0].name
        one.system.__dict__["limits"] = Limits(None, None, {}, {slow: Limit(f"destination:{slow}", 1, 3600)})
        first = seed_campaign(database, one.system.clock.now(), 10, destination=slow)
        with database.write() as connection:
            rest = seed_campaign_rows(connection, first.campaign_id, first.slice_id, 40)
        turned = one.bulk.turn(first.campaign_id)
        one.press.drain(20)
        assert len(server.messages) == 41
    assert rest == 40
    assert turned.rest > 1
    assert statuses(database) == {"sent": 41, "queued": 9}


def test_a_destination_with_room_at_any_time_does_not_hide_a_slow_one(
    station: Callable[..., Station], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy SQLite a claim takes longer than its mails, so the others never wait: the slow one has its pace."""
    monkeypatch.setattr(Press, "room", lambda _self, _destination: 2)
    monkeypatch.setattr(bulk, "TURN_SECONDS", 1.5)
    with SmtpServer() as server:
        one = station(server.url)
        slow = one.system.shaping.groups[0].name
        one.system.__dict__["limits"] = Limits(None, None, {}, {slow: Limit(f"destination:{slow}", 20, 1)})
        first = seed_campaign(database, one.system.clock.now(), 100, destination=slow)
        with database.write() as connection:
            seed_campaign_rows(connection, first.campaign_id, first.slice_id, 8000)
        # on a busy machine the whole turn went by while the mail was made
        assert one.press.prepare("daily", first.campaign_id)
        begun = select(DeliveryRow.id).where(DeliveryRow.destination == slow, DeliveryRow.status != "queued")
        for _ in range(3):
            one.bulk.turn(first.campaign_id)
            with database.read() as connection:
                slow_ones = len(connection.execute(begun).all())
            if slow_ones > 5:
                break
        assert statuses(database)["queued"] > 100, "the others must have had something to do all the time"
        assert slow_ones > 5


def seed_campaign_rows(connection: object, campaign_id: int, slice_id: int, n: int) -> int:
    from sqlalchemy import Connection, insert

    from worker.domain.clock import SystemClock
    from worker.domain.delivery import DeliveryStatus, Kind

    assert isinstance(connection, Connection)
    subscription = connection.execute(select(DeliveryRow.subscription_id, DeliveryRow.subscriber_id).limit(1)).one()
    rows = [
        {"publication": "daily", "kind": Kind.NEW_POST, "campaign_id": campaign_id, "slice_id": slice_id,
         "subscription_id": subscription.subscription_id, "subscriber_id": subscription.subscriber_id,
         "address": f"other{i}@example.com", "destination": "", "dedupe_key": f"other:{i}",
         "status": DeliveryStatus.QUEUED, "created_at": SystemClock().now()}
        for i in range(n)
    ]  # fmt: skip
    connection.execute(insert(DeliveryRow), rows)
    connection.exec_driver_sql(f"UPDATE tallies SET n = n + {n} WHERE slice_id = {slice_id}")
    return n


def test_a_broken_template_fails_the_campaign_before_the_first_mail(
    station: Callable[..., Station], database: Database, tmp_path: Path, make_settings: Callable[..., Settings]
) -> None:
    from dataclasses import replace

    override = tmp_path / "mine" / "new_post"
    override.mkdir(parents=True)
    (override / "subject.txt").write_text("{{ recipient.age }}")
    with SmtpServer() as server:
        one = station(server.url)
        daily = one.system.publications["daily"]
        one.system.__dict__["publications"] = {"daily": replace(daily, templates=tmp_path / "mine")}
        seeded = seed_campaign(database, one.system.clock.now(), 5)
        one.bulk.turn(seeded.campaign_id)
        one.press.drain(20)
        assert server.messages == []
    assert statuses(database) == {"queued": 5}
    with database.read() as connection:
        row = connection.execute(select(CampaignRow.status, CampaignRow.reason)).one()
    assert row.status == "failed"
    assert "subject.txt:1:" in row.reason
    assert "age" in row.reason
    assert_counters_agree(database)


def test_a_proof_shows_the_post_as_it_is_now(station: Callable[..., Station], database: Database) -> None:
    """Of a campaign that is held, which takes another post when it is published again."""
    with SmtpServer() as server:
        one = station(server.url)
        now = one.system.clock.now()
        seeded = seed_campaign(database, now, 0, status=CampaignStatus.PAUSED)
        for title in ("Wrong", "Right"):
            with database.write() as connection:
                connection.execute(update(CampaignRow).values(post={**POST, "title": title}))
                put_proof(connection, str(seeded.campaign_id), "me@example.com", "", now)
            one.transactional.run()
            one.press.drain(20)
        subjects = [message_from_bytes(message.data)["subject"] for message in server.messages]
    assert subjects == ["[Test] Wrong", "[Test] Right"]


def test_a_hop_that_is_down_leaves_the_rows_alone_and_ends_the_turn(
    station: Callable[..., Station], database: Database
) -> None:
    one = station("smtp://127.0.0.1:1")
    seeded = seed_campaign(database, one.system.clock.now(), 100)
    one.bulk.turn(seeded.campaign_id)
    one.press.drain(20)
    found = statuses(database)
    assert found["queued"] >= 100 - 2 * 4
    assert found["deferred"] == 100 - found["queued"]
    assert_counters_agree(database)


def test_an_address_that_needs_smtputf8_where_there_is_none(
    station: Callable[..., Station], database: Database
) -> None:
    from tests.smtpd import Options

    with SmtpServer(options=Options(smtputf8=False)) as server:
        one = station(server.url)
        seeded = seed_campaign(database, one.system.clock.now(), 1)
        with database.write() as connection:
            connection.exec_driver_sql("UPDATE deliveries SET address = 'jürgen@example.com'")
        one.bulk.turn(seeded.campaign_id)
        one.press.drain(20)
    with database.read() as connection:
        row = connection.execute(select(DeliveryRow.status, DeliveryRow.reason, DeliveryRow.reply)).one()
    assert (row.status, row.reason) == ("failed", "smtputf8_unavailable")
    assert "SMTPUTF8" in row.reply


def test_every_kind_of_refusal_ends_where_it_should(station: Callable[..., Station], database: Database) -> None:
    replies = {
        "451 4.3.0 try again later": "deferred",
        "550 5.1.1 no such user": "bounced",
        "552 5.2.2 mailbox full": "bounced",
        "550 5.7.1 not from you": "failed",
    }
    rules = [
        Rule("rcpt", reply=reply, rcpt=f"reader{n}.post-1@example.com") for n, reply in enumerate(replies)
    ]
    # the last, and late: it holds up what has not begun to its domain
    rules.append(Rule("rcpt", reply="421 4.7.0 closing", rcpt="reader7.post-1@example.com", delay=1.0))
    with SmtpServer(rules) as server:
        one = station(server.url)
        seeded = seed_campaign(database, one.system.clock.now(), 8)
        one.bulk.turn(seeded.campaign_id)
        one.press.drain(20)
    with database.read() as connection:
        found = connection.execute(select(DeliveryRow.status).order_by(DeliveryRow.id)).scalars().all()
    assert list(found) == [*replies.values(), "sent", "sent", "sent", "deferred"]
    assert_counters_agree(database)
