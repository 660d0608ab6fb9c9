"""A destination that throttles or is slow, behind one relay: the others' mail all goes, and its own when it stops."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from redis import Redis
from sqlalchemy import text

from tests.ledger import assert_counters_agree, seed_campaign, statuses
from tests.running import wait_until
from tests.smtpd import Rule, SmtpServer
from worker.domain.breaker import Phase
from worker.station import Station
from worker.storage.database import Database

SLOW = "@gmail.com"
READERS = 120
"""Every third of them at the slow destination."""


def seed(database: Database, one: Station) -> int:
    """A campaign whose first rows in each three are the slow destination's."""
    seeded = seed_campaign(database, one.system.clock.now(), READERS)
    with database.write() as connection:
        connection.execute(
            text("UPDATE deliveries SET destination = 'google', address = replace(address, 'example.com', 'gmail.com') "
                 "WHERE id % 3 = 0")
        )  # fmt: skip
    return seeded.campaign_id


def others(server: SmtpServer) -> int:
    return sum(1 for one in list(server.messages) if one.rcpt.endswith("@example.com"))


def turns_until(one: Station, campaign: int, done: Callable[[], bool], seconds: float = 30) -> None:
    """Turn after turn, as the chain does, resting as long as a turn says."""
    until = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < until, statuses(one.system.database)
        turned = one.bulk.turn(campaign)
        one.press.drain(1.0)
        time.sleep(min(turned.rest, 0.2))


@pytest.mark.parametrize("code", [421, 451])
def test_what_throttles_gets_few_attempts_and_the_others_all_their_mail(
    station: Callable[..., Station], database: Database, code: int
) -> None:
    rule = Rule("rcpt", reply=f"{code} 4.7.0 too many messages from you, try again in 10 minutes", rcpt=SLOW)
    with SmtpServer([rule]) as server:
        one = station(server.url)
        campaign = seed(database, one)
        turns_until(one, campaign, lambda: others(server) == READERS * 2 // 3)
        one.press.drain(5)
        found = statuses(database)
        states = one.system.limiter.state(["destination:google"])
    assert found["sent"] == READERS * 2 // 3
    assert 1 <= found["deferred"] <= 2 * 4
    assert found["queued"] == READERS // 3 - found["deferred"]
    assert 590 < one.system.breakers.wait("destination:google") <= 600
    assert 590 < states[0].closed_for <= 600
    assert_counters_agree(database)


def test_its_own_mail_arrives_when_it_stops(station: Callable[..., Station], database: Database) -> None:
    rule = Rule("rcpt", reply="421 4.7.0 too many messages from you, try again in 1 second", rcpt=SLOW, times=1)
    with SmtpServer([rule]) as server:
        one = station(server.url, PRESSRUN_RETRY_BASE_SECONDS="1")
        campaign = seed(database, one)

        def done() -> bool:
            one.system.due.retries()
            return statuses(database)["sent"] == READERS

        turns_until(one, campaign, done)
    assert len(server.messages) == READERS
    wait_until(lambda: not one.system.breakers.troubled, 5)


def test_a_probe_that_fails_costs_one_attempt_and_a_longer_wait(
    station: Callable[..., Station], database: Database
) -> None:
    rule = Rule("rcpt", reply="421 4.7.0 too many messages, try again in 1 second", rcpt=SLOW)
    with SmtpServer([rule]) as server:
        one = station(server.url)
        campaign = seed(database, one)
        turns_until(one, campaign, lambda: others(server) == READERS * 2 // 3)
        one.press.drain(5)
        before = statuses(database)["deferred"]
        failures = one.system.breakers.seen()["destination:google"].failures
        turns_until(one, campaign, lambda: statuses(database)["deferred"] > before)
        one.press.drain(5)
    after = statuses(database)["deferred"]
    breaker = one.system.breakers.seen()["destination:google"]
    assert after == before + 1
    assert breaker.failures == failures + 1


def test_what_takes_seconds_a_message_holds_a_part_of_the_connections(
    station: Callable[..., Station], database: Database
) -> None:
    """Four connections, of which the slow one gets one: all others are through before the first of its own is."""
    with SmtpServer([Rule("rcpt", delay=2.5, rcpt=SLOW)]) as server:
        one = station(server.url)
        campaign = seed(database, one)
        one.bulk.turn(campaign)
        wait_until(lambda: len(server.messages) >= READERS * 2 // 3, 20)
        first = [message.rcpt for message in list(server.messages)][: READERS * 2 // 3]
        one.press.drain(10)
    assert sum(1 for rcpt in first if rcpt.endswith(SLOW)) <= 2
    assert statuses(database)["queued"] >= READERS // 3 - 6


def test_an_unlisted_domain_that_throttles_waits_elsewhere_and_holds_up_nobody(
    station: Callable[..., Station], database: Database
) -> None:
    """No table lists it, so its rows are claimed with the others': they are deferred, with no attempt counted."""
    rule = Rule("rcpt", reply="421 4.7.0 too many messages, try again in 10 minutes", rcpt="@slow.example")
    with SmtpServer([rule]) as server:
        one = station(server.url)
        campaign = seed_campaign(database, one.system.clock.now(), READERS).campaign_id
        with database.write() as connection:
            connection.execute(
                text("UPDATE deliveries SET address = replace(address, 'example.com', 'slow.example') WHERE id % 3 = 0")
            )
        turns_until(one, campaign, lambda: statuses(database)["queued"] == 0)
        one.press.drain(5)
    with database.read() as connection:
        attempts = connection.execute(text("SELECT attempts FROM deliveries WHERE status = 'deferred'")).scalars().all()
    assert others(server) == READERS * 2 // 3
    assert len(attempts) == READERS // 3
    assert sum(attempts) <= 2 * 4
    assert_counters_agree(database)


def test_two_processes_share_one_breaker(
    station: Callable[..., Station], database: Database, redis_client: Redis
) -> None:
    rule = Rule("rcpt", reply="421 4.7.0 too many messages, try again in 10 minutes", rcpt=SLOW)
    with SmtpServer([rule]) as server:
        here, there = station(server.url), station(server.url)
        campaign = seed(database, here)
        turns_until(here, campaign, lambda: here.system.breakers.troubled)
        here.press.drain(5)
        there.bulk.turn(campaign)
        there.press.drain(5)
        assert statuses(database)["deferred"] <= 2 * 4
        redis_client.flushdb()
        time.sleep(1.1)
        here.system.breakers.sync()
        seen = here.system.breakers.seen()["destination:google"]
    assert seen.phase(0) is Phase.OPEN
    assert redis_client.hlen("pressrun:breakers") == 1
