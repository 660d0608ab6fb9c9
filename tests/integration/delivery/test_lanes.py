"""Both lanes when something fails in the middle of a claim, or stands in the way."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import insert

from tests.ledger import assert_counters_agree, seed_campaign, statuses
from tests.smtpd import SmtpServer
from worker.bootstrap import build
from worker.delivery import queries, transactional
from worker.delivery.claim import Claimer
from worker.delivery.composing import CompiledParcel, Composer
from worker.delivery.journal import Journal
from worker.delivery.limits import Limits
from worker.delivery.parcels import Claimed
from worker.delivery.throttling import Grant, Limit, LimiterUnavailable, RedisLimiter
from worker.domain.clock import SystemClock
from worker.domain.delivery import Kind
from worker.domain.doorbell import RecordingDoorbell
from worker.settings import Settings
from worker.station import Station
from worker.storage.database import Database, DatabaseUnavailable
from worker.storage.models import SuppressionRow
from worker.storage.outbox import Outgoing, put

# a grant of several tokens, more than there are rows
OVERALL = Limits(Limit("overall", 1000, 1.0), None, {}, {})


@pytest.fixture
def station(
    make_settings: Callable[..., Settings], database_url: str, redis_url: str
) -> Iterator[Callable[[str], Station]]:
    with ExitStack() as stack:

        def make(smtp_url: str) -> Station:
            settings = make_settings(
                PRESSRUN_DATABASE_URL=database_url, PRESSRUN_REDIS_URL=redis_url, PRESSRUN_SMTP_URL=smtp_url,
                PRESSRUN_SMTP_CONNECTIONS="4",
            )  # fmt: skip
            system = build(settings, os.environ, RecordingDoorbell())
            stack.callback(system.database.close)
            one = Station(system)
            stack.callback(one.close)
            return one

        yield make


def put_mails(database: Database, n: int, destination: str, campaign_id: int) -> None:
    """Test mails: transactional ones that need no subscriber."""
    with database.write() as connection:
        for i in range(n):
            key = f"{destination}:{i}"
            put(connection, Outgoing("daily", Kind.TEST, f"to{i}@{destination or 'other'}.example", destination, key,
                                     None, shows_campaign_id=campaign_id), SystemClock().now())  # fmt: skip


def test_a_database_that_goes_away_behind_the_claim_leaves_nothing_sending(
    station: Callable[[str], Station], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The post is read after the claim. Its rows must go back, not be held by a lease that is renewed for ever."""

    def away(_self: Composer, _claimed: Claimed) -> CompiledParcel:
        raise DatabaseUnavailable("database: away")

    with SmtpServer() as server:
        one = station(server.url)
        seeded = seed_campaign(database, one.system.clock.now(), 3)
        with monkeypatch.context() as patch:
            patch.setattr(Composer, "mail_for", away)
            with pytest.raises(DatabaseUnavailable):
                one.bulk.turn(seeded.campaign_id)
        assert one.press._recorder.wait_idle(10)
        assert statuses(database) == {"queued": 3}
        one.bulk.turn(seeded.campaign_id)
        assert len(server.messages) == 3
    assert_counters_agree(database)


def test_a_campaign_that_cannot_even_be_failed_leaves_nothing_sending(
    station: Callable[[str], Station], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise DatabaseUnavailable("database: away")

    one = station("smtp://127.0.0.1:1")
    one.system.__dict__["publications"] = {}
    seeded = seed_campaign(database, one.system.clock.now(), 3)
    monkeypatch.setattr(queries, "fail_campaign", away)
    with pytest.raises(DatabaseUnavailable):
        one.bulk.turn(seeded.campaign_id)
    assert one.press._recorder.wait_idle(10)
    assert statuses(database) == {"queued": 3}


@pytest.mark.parametrize("lane", ["bulk", "transactional"])
def test_a_limiter_that_fails_behind_the_claim_holds_up_nothing(
    station: Callable[[str], Station], database: Database, monkeypatch: pytest.MonkeyPatch, lane: str
) -> None:
    """Redis dies between the tokens and what is given back of them: what is claimed goes out all the same."""

    def dead(_self: RedisLimiter, _limits: Sequence[Limit], _grant: Grant, _unused: int) -> None:
        raise LimiterUnavailable("rate limits: Redis does not answer")

    monkeypatch.setattr(RedisLimiter, "give_back", dead)
    with SmtpServer() as server:
        one = station(server.url)
        one.system.__dict__["limits"] = OVERALL
        seeded = seed_campaign(database, one.system.clock.now(), 1)
        put_mails(database, 2, "", seeded.campaign_id)
        with database.write() as connection:
            # one token of the two is not used
            connection.execute(insert(SuppressionRow).values(
                address="to1@other.example", publication="daily", reason="operator", created_at=SystemClock().now()
            ))  # fmt: skip
        send = partial(one.bulk.turn, seeded.campaign_id) if lane == "bulk" else one.transactional.run
        with pytest.raises(LimiterUnavailable):
            send()
        server.wait_for(lambda one: len(one.messages) == 1)


def test_a_shut_destination_with_pages_of_mail_does_not_hide_what_is_behind_it(
    station: Callable[[str], Station], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transactional, "PEEK", 5)
    with SmtpServer() as server:
        one = station(server.url)
        one.system.__dict__["limits"] = Limits(None, None, {}, {"slow": Limit("destination:slow", 1, 3600)})
        seeded = seed_campaign(database, one.system.clock.now(), 0)
        put_mails(database, 40, "slow", seeded.campaign_id)
        put_mails(database, 2, "", seeded.campaign_id)
        one.transactional.run()
        server.wait_for(lambda one: len(one.messages) >= 2)
        one.press.drain(10)
        domains = [message.rcpt.partition("@")[2] for message in server.messages]
    assert domains.count("other.example") == 2
    assert domains.count("slow.example") <= 2
    assert_counters_agree(database)


def test_a_process_begins_with_what_the_dead_of_its_host_left(
    station: Callable[[str], Station], database: Database
) -> None:
    """On several hosts the sweeps may all be another one's, which cannot read these journals."""
    one = station("smtp://127.0.0.1:1")
    seeded = seed_campaign(database, one.system.clock.now(), 2)
    journal = Journal(one.system.settings.journal_dir)
    claim = Claimer(database, SystemClock(), journal.owner, timedelta(seconds=30)).campaign(seeded.campaign_id, "", 9)
    assert claim is not None
    os.close(journal._fd)
    assert one.press.room("") > 0
    assert statuses(database) == {"queued": 2}
