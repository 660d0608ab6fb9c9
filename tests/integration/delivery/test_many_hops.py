"""A hundred domains with a server each: a fifth takes its time, a fifth is dead one way or another."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack

import pytest
from sqlalchemy import text

from tests.integration.delivery.test_direct import Direct, direct, stack, turns_until  # noqa: F401 - fixtures
from tests.ledger import assert_counters_agree, seed_campaign
from tests.nameserver import NameServer
from tests.smtpd import Rule, SmtpServer
from worker.storage.database import Database

_READERS = 3_000
_ADDRESSES = {"quick": "127.0.0.1", "slow": "127.0.0.2", "nobody listens": "127.0.0.3"}


def _kind(domain: int) -> str:
    return (["quick"] * 6 + ["slow"] * 2 + ["nobody listens", "no DNS"])[domain % 10]


def _zone() -> dict[str, dict[str, list[str]]]:
    zone: dict[str, dict[str, list[str]]] = {}
    for number in range(100):
        if _kind(number) != "no DNS":
            zone[f"d{number}.example"] = {"MX": [f"10 mx{number}.example."]}
            zone[f"mx{number}.example"] = {"A": [_ADDRESSES[_kind(number)]]}
    return zone


def _found(database: Database) -> Counter[tuple[str, str]]:
    with database.read() as connection:
        rows = connection.execute(text("SELECT id % 100 AS domain, status FROM deliveries")).all()
    return Counter((_kind(row.domain), row.status) for row in rows)


@pytest.mark.parametrize("backend", ["sqlite"])
def test_the_quick_ones_are_done_long_before_the_others(
    direct: Direct, database: Database, stack: ExitStack  # noqa: F811
) -> None:
    quick = stack.enter_context(SmtpServer())
    slow = stack.enter_context(SmtpServer([Rule("dot", delay=1.5)], port=quick.port, host="127.0.0.2"))
    silent = tuple(f"d{number}.example" for number in range(100) if _kind(number) == "no DNS")
    one = direct(quick, stack.enter_context(NameServer(_zone(), silent=silent)), PRESSRUN_SMTP_CONNECTIONS="16")
    campaign = seed_campaign(database, one.system.clock.now(), _READERS).campaign_id
    with database.write() as connection:
        moved = "UPDATE deliveries SET address = replace(address, 'example.com', 'd' || (id % 100) || '.example')"
        connection.execute(text(moved))
    turns_until(one, campaign, lambda: len(quick.messages) == _READERS * 6 // 10, 90)
    assert len(slow.messages) < _READERS * 2 // 10 // 2
    one.press.drain(5)
    found = _found(database)
    assert found["quick", "sent"] == _READERS * 6 // 10
    assert {status for kind, status in found if kind not in ("quick", "slow")} <= {"deferred", "queued", "sending"}
    assert_counters_agree(database)
