"""Without a relay: promises 1, 2 and 4 hold straight to the recipients' servers, whatever those do meanwhile."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from redis import Redis

from tests.faults.conftest import WORKERS
from tests.faults.test_promise_4 import assert_doubles_are_the_same_message, doubled
from tests.ledger import assert_counters_agree
from tests.nameserver import NameServer
from tests.running import Running, post_event, signup_event, wait_until
from tests.servers import RedisServer
from tests.smtpd import Options, Rule, SmtpServer
from worker.delivery.gates.base import LEASE_SECONDS

EACH = 800
ZONE = {
    "quick.example": {"MX": ["10 mx.quick.example.", "20 mx2.quick.example."]},
    "mx.quick.example": {"A": ["127.0.0.3"]}, "mx2.quick.example": {"A": ["127.0.0.1"]},
    "busy.example": {"MX": ["10 mx.busy.example."]}, "mx.busy.example": {"A": ["127.0.0.2"]},
}  # fmt: skip
"""Of `quick.example` the best server is dead."""


def direct(system: Callable[..., Running], quick: SmtpServer, names: NameServer) -> Running:
    return system(
        "mx://", *WORKERS, PRESSRUN_SMTP_MX_PORT=str(quick.port), PRESSRUN_SMTP_MX_NAMESERVER=names.address,
        PRESSRUN_SMTP_CONNECTIONS="8", PRESSRUN_RETRY_BASE_SECONDS="1", PRESSRUN_LEASE_SECONDS="5",
    )  # fmt: skip


def _connections(client: Redis) -> set[str]:
    """Who holds one."""
    keys = client.scan_iter(match="pressrun:connections:*")
    return {str(one) for key in keys for one in client.zrange(key, 0, -1)}


@pytest.mark.parametrize("backend", ["postgresql"])
def test_processes_killed_and_redis_emptied_while_mail_goes_straight(
    system: Callable[..., Running], own_redis: RedisServer
) -> None:
    """All arrive; doubles are at most the open conversations, a connection each, and the same message.

    Nobody waits for the connections of the dead.
    """
    options = Options(latency=0.002)
    with (
        NameServer(ZONE) as names, SmtpServer(options=options) as quick,
        SmtpServer([Rule("dot", delay=0.05), Rule("connect", reply="421 4.7.0 too many", nth=2, times=1)],
                   port=quick.port, host="127.0.0.2", options=options) as busy,
    ):  # fmt: skip
        running = direct(system, quick, names)
        for domain in ("quick", "busy"):
            running.import_readers(EACH, domain, f"{domain}.example")
        running.emit(post_event())
        wait_until(lambda: len(quick.messages) + len(busy.messages) > EACH // 3, 90, running.describe)
        running.kill("bulk")
        with Redis.from_url(own_redis.url) as client:
            dead = _connections(client)
            assert dead
            running.start("bulk")
            wait_until(lambda: not dead & _connections(client), LEASE_SECONDS - 15, running.describe)
            client.flushall()
        running.wait_sent(2 * EACH, 120)
        messages = [*quick.messages, *busy.messages]
    assert len({one.rcpt for one in messages}) == 2 * EACH
    assert {one.rcpt.partition("@")[2] for one in quick.messages} == {"quick.example"}
    assert len(doubled(messages)) <= 2 * 8
    assert_doubles_are_the_same_message(messages, doubled(messages))
    assert_counters_agree(running.database)


@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_confirmation_goes_straight_while_bulk_mail_does(system: Callable[..., Running]) -> None:
    with NameServer(ZONE) as names, SmtpServer() as quick:
        running = direct(system, quick, names)
        running.import_readers(EACH, "busy", "busy.example")
        running.emit(post_event())
        wait_until(lambda: running.counts()["deferred"] > 0, 60, running.describe)
        running.emit(signup_event("new@quick.example"))
        quick.wait_for(lambda one: len(one.messages) == 1, 30)
        assert quick.messages[0].rcpt == "new@quick.example"
        # the ledger hears of it a moment after its server does
        running.wait_sent(1, 10)

