"""The next hop's state: closed after a refusal, then tried by one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest
from structlog.testing import capture_logs

from worker.delivery.hop import FIRST_PAUSE_SECONDS, FULL_SECONDS, LONGEST_PAUSE_SECONDS, Hop
from worker.delivery.transports.base import Connection, HopUnavailable
from worker.delivery.transports.memory import InMemoryTransport
from worker.domain.clock import FakeClock


async def _down() -> Connection:
    raise HopUnavailable("nobody there")


def opened(hop: Hop, opening: Awaitable[Connection] | None = None) -> bool:
    async def go() -> bool:
        try:
            await hop.open(opening or InMemoryTransport().open())
        except HopUnavailable as error:
            hop.refused(str(error))
            return False
        return True

    return asyncio.run(go())


def test_each_refusal_closes_it_for_twice_as_long_up_to_a_minute() -> None:
    clock = FakeClock()
    hop = Hop(clock)
    waits = []
    for _ in range(10):
        assert not opened(hop, _down())
        waits.append(hop.wait())
        assert not hop.may_open()
        clock.advance(seconds=hop.wait())
        assert hop.may_open()
    assert waits[:3] == pytest.approx([FIRST_PAUSE_SECONDS, 2 * FIRST_PAUSE_SECONDS, 4 * FIRST_PAUSE_SECONDS])
    assert waits[-1] == pytest.approx(LONGEST_PAUSE_SECONDS)


def test_a_hop_that_connects_and_then_refuses_every_message_is_left_alone_for_longer_each_time() -> None:
    """It says 421 to MAIL: a connection alone does not make it well."""
    clock = FakeClock()
    hop = Hop(clock)
    waits = []
    for _ in range(3):
        assert opened(hop)
        hop.closed()
        hop.refused("421 4.7.0 too much for today")
        waits.append(round(hop.wait(), 3))
        clock.advance(seconds=hop.wait())
    assert waits == [FIRST_PAUSE_SECONDS, 2 * FIRST_PAUSE_SECONDS, 4 * FIRST_PAUSE_SECONDS]


def test_after_a_refusal_one_connection_tries_it_and_the_others_wait_until_it_listened() -> None:
    clock = FakeClock()
    hop = Hop(clock)
    opened(hop, _down())
    clock.advance(seconds=FIRST_PAUSE_SECONDS)
    assert hop.may_open()
    assert opened(hop)
    assert (hop.doubtful, hop.may_open()) == (True, False)
    hop.listened()
    assert (hop.doubtful, hop.may_open()) == (False, True)


def test_a_refusal_while_others_are_open_is_a_full_hop_not_a_closed_one() -> None:
    clock = FakeClock()
    hop = Hop(clock)
    assert opened(hop)
    assert opened(hop)
    assert not opened(hop, _down())
    assert hop.wait() == 0
    assert not hop.may_open()
    hop.closed()
    assert hop.may_open()
    assert opened(hop)
    clock.advance(seconds=FULL_SECONDS + 1)
    assert hop.may_open()


def test_the_operator_is_told_what_refuses_and_where_to_look() -> None:
    hop = Hop(FakeClock())
    with capture_logs() as lines:
        opened(hop, _down())
        # several connections refused in the same moment are one failure, and one line
        opened(hop, _down())
    assert [(one["log_level"], one["why"]) for one in lines] == [("warning", "nobody there")]
    assert "PRESSRUN_SMTP_URL" in lines[0]["see"]
