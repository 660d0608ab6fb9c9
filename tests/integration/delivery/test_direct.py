"""Straight to the recipients' servers with everything behind it: what one server does costs the others nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from sqlalchemy import text

from tests.ledger import assert_counters_agree, seed_campaign, statuses
from tests.nameserver import NameServer
from tests.running import wait_until
from tests.smtpd import Rule, SmtpServer
from worker.delivery.limits import Limits
from worker.delivery.throttling import Destination, Limit, Shaping
from worker.station import Station
from worker.storage.database import Database

READERS = 90
DOMAINS = ("quick.example", "other.example", "third.example")
"""Of the readers in turn."""
ZONE = {
    "quick.example": {"MX": ["10 quick-mx.example."]}, "quick-mx.example": {"A": ["127.0.0.1"]},
    "other.example": {"MX": ["10 other-mx.example."]}, "other-mx.example": {"A": ["127.0.0.2"]},
    "third.example": {"MX": ["10 quick-mx.example."]},
}  # fmt: skip


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as one:
        yield one


Direct = Callable[..., Station]


@pytest.fixture
def direct(station: Callable[..., Station]) -> Direct:
    def make(quick: SmtpServer, names: NameServer, **environ: str) -> Station:
        own = {"PRESSRUN_SMTP_MX_PORT": str(quick.port), "PRESSRUN_SMTP_MX_NAMESERVER": names.address}
        return station("mx://", **{"PRESSRUN_SMTP_CONNECTIONS": "8", **own, **environ})

    return make


def seed(database: Database, one: Station, destination: str = "", readers: int = READERS) -> int:
    seeded = seed_campaign(database, one.system.clock.now(), readers)
    with database.write() as connection:
        for number, domain in enumerate(DOMAINS):
            connection.execute(
                text("UPDATE deliveries SET address = replace(address, 'example.com', :domain), destination = :group "
                     "WHERE id % 3 = :number"),
                {"domain": domain, "number": number, "group": destination if domain == "other.example" else ""},
            )  # fmt: skip
    return seeded.campaign_id


def turns_until(one: Station, campaign: int, done: Callable[[], bool], seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < until, _why(one.system.database)
        one.system.due.retries()
        turned = one.bulk.turn(campaign)
        one.press.drain(0.5)
        time.sleep(min(turned.rest, 0.2) or 0.05)


def _why(database: Database) -> object:
    with database.read() as connection:
        return connection.execute(
            text("SELECT status, attempts, code, reply, count(*) FROM deliveries GROUP BY 1, 2, 3, 4")
        ).all()


def test_each_domain_to_its_own_server(direct: Direct, database: Database, stack: ExitStack) -> None:
    quick = stack.enter_context(SmtpServer())
    other = stack.enter_context(SmtpServer(port=quick.port, host="127.0.0.2"))
    one = direct(quick, stack.enter_context(NameServer(ZONE)))
    turns_until(one, seed(database, one), lambda: statuses(database)["sent"] == READERS)
    assert {message.rcpt.partition("@")[2] for message in quick.messages} == {"quick.example", "third.example"}
    assert {message.rcpt.partition("@")[2] for message in other.messages} == {"other.example"}
    assert_counters_agree(database)


@pytest.mark.parametrize(
    "rule",
    [Rule("rcpt", delay=3.0), Rule("mail", silent=True), Rule("rcpt", reply="421 4.7.0 too fast"),
     Rule("connect", reply="421 4.7.0 try again in 5 minutes"), Rule("connect", silent=True), None],
    ids=["3 s a message", "silent", "throttles", "throttles at the door", "silent at the door", "nobody listens"],
)  # fmt: skip
def test_what_one_server_does_costs_the_others_nothing(
    direct: Direct, database: Database, stack: ExitStack, rule: Rule | None
) -> None:
    """Nobody's rows but its own are touched by it; of those, few have had an attempt."""
    quick = stack.enter_context(SmtpServer())
    if rule is not None:
        stack.enter_context(SmtpServer([rule], port=quick.port, host="127.0.0.2"))
    names = stack.enter_context(NameServer(ZONE))
    one = direct(quick, names, PRESSRUN_SMTP_TIMEOUT_SECONDS="4", PRESSRUN_SMTP_CONNECT_TIMEOUT_SECONDS="4")
    campaign = seed(database, one)
    turns_until(one, campaign, lambda: len(quick.messages) == READERS * 2 // 3)
    wait_until(lambda: statuses(database)["sent"] >= READERS * 2 // 3, 10)
    with database.read() as connection:
        tried = connection.execute(text("SELECT sum(attempts) FROM deliveries WHERE status <> 'sent'")).scalar_one()
    assert int(tried) <= 8
    assert statuses(database)["bounced"] == statuses(database)["failed"] == 0


def test_two_connections_over_two_processes(direct: Direct, database: Database, stack: ExitStack) -> None:
    group = Destination("other", ("other.example",), None, 2, 10)
    quick = stack.enter_context(SmtpServer())
    other = stack.enter_context(SmtpServer([Rule("dot", delay=0.02)], port=quick.port, host="127.0.0.2"))
    names = stack.enter_context(NameServer(ZONE))
    here, there = direct(quick, names), direct(quick, names)
    for one in (here, there):
        one.system.__dict__["shaping"] = Shaping((group,))
    campaign = seed(database, here, "other")
    until = time.monotonic() + 30
    while statuses(database)["sent"] < READERS:
        assert time.monotonic() < until, _why(database)
        for one in (here, there):
            one.system.due.retries()
            one.bulk.turn(campaign)
    assert other.most_connections <= 2
    assert len(other.messages) == READERS // 3


def test_a_domain_that_is_gone_bounces_and_one_that_dns_does_not_tell_of_waits(
    direct: Direct, database: Database, stack: ExitStack
) -> None:
    zone = {name: records for name, records in ZONE.items() if name != "other.example"}
    quick = stack.enter_context(SmtpServer())
    names = stack.enter_context(NameServer(zone, failing=("third.example",)))
    one = direct(quick, names)
    campaign = seed(database, one)
    turns_until(one, campaign, lambda: statuses(database)["queued"] == statuses(database)["sending"] == 0)
    found = statuses(database)
    assert found == {"sent": READERS // 3, "bounced": READERS // 3, "deferred": READERS // 3}
    with database.read() as connection:
        row = connection.execute(
            text("SELECT sum(attempts) AS attempts, min(reply) AS reply FROM deliveries WHERE status = 'deferred'")
        ).one()
    assert row.attempts == 0
    assert "DNS" in row.reply
    assert_counters_agree(database)


def test_what_is_held_has_an_end_all_the_same(direct: Direct, database: Database, stack: ExitStack) -> None:
    """A server that never listens: its rows are tried in turn, but their time runs for all of them."""
    quick = stack.enter_context(SmtpServer())
    one = direct(quick, stack.enter_context(NameServer(ZONE)), PRESSRUN_RETRY_HOURS="0.001")
    campaign = seed(database, one)
    turns_until(one, campaign, lambda: statuses(database)["sent"] + statuses(database)["expired"] == READERS, 60)
    assert statuses(database)["expired"] == READERS // 3


@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_server_that_takes_its_time_to_open(direct: Direct, database: Database, stack: ExitStack) -> None:
    """Longer than a claimed row may wait: the connection is there when the row comes again."""
    quick = stack.enter_context(SmtpServer())
    slow = stack.enter_context(SmtpServer([Rule("connect", delay=2.5)], port=quick.port, host="127.0.0.2"))
    one = direct(quick, stack.enter_context(NameServer(ZONE)))
    turns_until(one, seed(database, one), lambda: statuses(database)["sent"] == READERS, 60)
    assert slow.connections <= 8


@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_server_with_all_its_connections_busy_does_not_hold_up_the_others(
    direct: Direct, database: Database, stack: ExitStack
) -> None:
    """Not slow enough to be called slow: 0.8 s a message. What it cannot take yet is not all that is in hand."""
    quick = stack.enter_context(SmtpServer())
    other = stack.enter_context(SmtpServer([Rule("dot", delay=0.8)], port=quick.port, host="127.0.0.2"))
    one = direct(quick, stack.enter_context(NameServer(ZONE)))
    campaign = seed(database, one, readers=6000)
    turns_until(one, campaign, lambda: len(quick.messages) == 4000, 60)
    before = len(other.messages)
    assert before < 1000
    turns_until(one, campaign, lambda: len(other.messages) > before + 20, 30)
    assert_counters_agree(database)


def test_what_is_held_uses_no_tokens(direct: Direct, database: Database, stack: ExitStack) -> None:
    """Rows of a server where nobody listens are looked at again and again; the limit is there for the others."""
    quick = stack.enter_context(SmtpServer())
    one = direct(quick, stack.enter_context(NameServer(ZONE)))
    limit = Limit("overall", 3600, 120)
    one.system.__dict__["limits"] = Limits(limit, None, {}, {})
    campaign = seed(database, one)
    turns_until(one, campaign, lambda: statuses(database) == {"sent": 60, "deferred": 30}, 60)
    assert one.system.limiter.state(["overall"])[0].used <= 60 + 8


@pytest.mark.parametrize("backend", ["sqlite"])
@pytest.mark.parametrize("stall", [0.0, 1.5])
def test_a_domain_alone_takes_all_it_is_sent_at_once(
    direct: Direct, database: Database, stack: ExitStack, stall: float
) -> None:
    """More connections here than it may have: nothing is deferred for want of one, again and again.

    Nor where the process stood still for a moment: that is not the server's slowness.
    """
    quick = stack.enter_context(SmtpServer())
    one = direct(quick, stack.enter_context(NameServer(ZONE)), PRESSRUN_SMTP_CONNECTIONS="20")
    campaign = seed_campaign(database, one.system.clock.now(), 3000).campaign_id
    with database.write() as connection:
        connection.execute(text("UPDATE deliveries SET address = replace(address, 'example.com', 'quick.example')"))
    seen: set[str] = set()

    def done() -> bool:
        with database.read() as connection:
            seen.update(connection.execute(text("SELECT reply FROM deliveries WHERE status = 'deferred'")).scalars())
        return statuses(database)["sent"] == 3000

    loop = one.press._courier._loop
    threading.Timer(0.35, loop.call_soon_threadsafe, (time.sleep, stall)).start()
    turns_until(one, campaign, done, 60)
    assert seen == set()
    assert quick.most_connections <= 10


@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_server_that_falls_silent_does_not_hold_up_the_others(
    direct: Direct, database: Database, stack: ExitStack
) -> None:
    """It was quick, so it has most of the connections when it does."""
    quick = stack.enter_context(SmtpServer([Rule("dot", delay=0.002)]))
    other = stack.enter_context(SmtpServer(port=quick.port, host="127.0.0.2"))
    names = stack.enter_context(NameServer(ZONE))
    one = direct(quick, names, PRESSRUN_SMTP_CONNECTIONS="20", PRESSRUN_SMTP_TIMEOUT_SECONDS="40")
    campaign = seed(database, one, readers=12_000)
    watcher = threading.Thread(target=_silence, args=(other, 200))
    watcher.start()
    turns_until(one, campaign, lambda: len(quick.messages) == 8000, 35)
    watcher.join()
    assert len(other.messages) < 4000


def _silence(server: SmtpServer, after: int) -> None:
    server.wait_for(lambda one: len(one.messages) > after, 30)
    server.add(Rule("mail", silent=True))


def test_whoever_names_a_providers_servers_does_not_close_the_provider(
    direct: Direct, database: Database, stack: ExitStack
) -> None:
    """A domain at the provider's own servers is answered 421 all the time; the provider's own mail goes on."""
    zone = ZONE | {"third.example": {"MX": ["10 other-mx.example."]}}
    group = Destination("other", ("other.example",), None, 2, 10, mx=("other-mx.example",))
    rule = Rule("rcpt", reply="421 4.7.0 come back in 24 hours", rcpt="@third.example")
    quick = stack.enter_context(SmtpServer())
    other = stack.enter_context(SmtpServer([rule], port=quick.port, host="127.0.0.2"))
    one = direct(quick, stack.enter_context(NameServer(zone)))
    one.system.__dict__["shaping"] = Shaping((group,))
    campaign = seed(database, one, "other")
    turns_until(one, campaign, lambda: len(other.messages) == len(quick.messages) == READERS // 3)
    assert {message.rcpt.partition("@")[2] for message in other.messages} == {"other.example"}
    assert set(one.system.breakers.seen()) == {"mx:other-mx.example"}
