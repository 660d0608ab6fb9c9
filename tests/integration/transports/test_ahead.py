"""Looking ahead: the next envelope is offered in the same write as the body before it, and nothing is risked by it."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Any

import pytest

from tests.integration.transports.conftest import Connect, Run, Serve
from tests.smtpd import Rule
from worker.delivery.transports.base import Exchange
from worker.delivery.transports.smtp import SmtpTransport
from worker.domain.message import Envelope, Message
from worker.domain.replies import Outcome, Stage

MESSAGE = Message(b"Subject: hi\r\n\r\nbody\r\n")


def envelopes(*addresses: str) -> list[Envelope]:
    return [Envelope("b+1@daily.example", address) for address in addresses]


async def carry(
    transport: SmtpTransport, parcels: list[Envelope], message: Message = MESSAGE
) -> tuple[list[Exchange], list[str], list[bool]]:
    """As a carrier does: one connection, each envelope named before its turn; stops where it is of no more use."""
    connection = await transport.open()
    waiting = deque(parcels)
    exchanges, bodies, offered = [], [], []
    while waiting and connection.usable:
        envelope = waiting.popleft()
        exchanges.append(
            await connection.send(
                envelope, message, lambda to=envelope.rcpt_to: bodies.append(to),  # type: ignore[misc]
                lambda: (waiting[0], message) if waiting else None,
            )
        )
        offered.append(connection.offered)
    await connection.close()
    return exchanges, bodies, offered


def test_all_arrive_once_and_in_order(serve: Serve, connect: Connect, run: Run[Any]) -> None:
    names = [f"r{n}@e.example" for n in range(20)]
    with serve() as server:
        exchanges, bodies, offered = run(carry(connect(server.url), envelopes(*names)))
        assert [one.rcpt for one in server.messages] == names
    assert {one.judgement.outcome for one in exchanges} == {Outcome.ACCEPTED}
    assert bodies == names
    # the first shows how quick the server is
    assert offered == [False, *[True] * 18, False]


@pytest.mark.parametrize(
    ("rule", "stage"),
    [
        (Rule("rcpt", reply="550 5.1.1 nobody", rcpt="r3@e.example"), Stage.RCPT),
        (Rule("data", reply="451 4.3.0 later", rcpt="r3@e.example"), Stage.DATA),
        (Rule("dot", reply="554 5.6.0 no", rcpt="r3@e.example"), Stage.BODY),
    ],
    ids=["RCPT", "DATA", "the message"],
)
def test_a_refusal_is_that_envelopes_own(
    serve: Serve, connect: Connect, run: Run[Any], rule: Rule, stage: Stage
) -> None:
    names = [f"r{n}@e.example" for n in range(6)]
    with serve(rule) as server:
        exchanges, _, _ = run(carry(connect(server.url), envelopes(*names)))
        assert [one.rcpt for one in server.messages] == [name for name in names if "r3@" not in name]
    refused = [one for one in exchanges if one.judgement.outcome is not Outcome.ACCEPTED]
    assert [(exchanges.index(one), one.stage) for one in refused] == [(3, stage)]


@pytest.mark.parametrize(
    "rule",
    [
        Rule("dot", cut=True, nth=3),
        Rule("dot", reply="421 4.3.2 closing", nth=3),
        Rule("dot", silent=True, nth=3),
    ],
    ids=["cut", "421", "silence"],
)
def test_what_was_offered_behind_a_lost_message_has_sent_nothing(
    serve: Serve, connect: Connect, run: Run[Any], rule: Rule
) -> None:
    names = [f"r{n}@e.example" for n in range(5)]
    with serve(rule) as server:
        exchanges, bodies, _ = run(carry(connect(server.url, timeout=0.5), envelopes(*names)))
        assert [one.rcpt for one in server.messages] == names[:2]
    assert len(exchanges) == 3
    assert bodies == names[:3]


def test_a_line_lost_at_the_offer_may_be_offered_again_elsewhere(
    serve: Serve, connect: Connect, run: Run[Any]
) -> None:
    names = [f"r{n}@e.example" for n in range(4)]
    with serve(Rule("mail", cut=True, nth=3)) as server:
        exchanges, bodies, _ = run(carry(connect(server.url), envelopes(*names)))
        assert [one.rcpt for one in server.messages] == names[:2]
    assert (exchanges[-1].stage, exchanges[-1].reply) == (Stage.CONNECT, None)
    assert bodies == names[:2]


def test_another_envelope_than_the_one_offered_is_not_sent(serve: Serve, connect: Connect, run: Run[Any]) -> None:
    """The reader who was named has heard of no message; the server forgets the recipient with the connection."""

    async def change_of_mind() -> list[Exchange]:
        connection = await connect(server.url).open()
        one, two, three, four = envelopes("a@e.example", "b@e.example", "c@e.example", "d@e.example")
        first = await connection.send(one, MESSAGE, lambda: None)
        second = await connection.send(two, MESSAGE, lambda: None, lambda: (three, MESSAGE))
        third = await connection.send(four, MESSAGE, lambda: None)
        await connection.close()
        return [first, second, third]

    with serve() as server:
        exchanges = run(change_of_mind())
        assert [one.rcpt for one in server.messages] == ["a@e.example", "b@e.example"]
    assert (exchanges[2].stage, exchanges[2].reply) == (Stage.CONNECT, None)


def test_closing_with_an_offer_open_sends_the_reader_nothing(serve: Serve, connect: Connect, run: Run[Any]) -> None:
    async def give_up() -> None:
        connection = await connect(server.url).open()
        one, two, three = envelopes("a@e.example", "b@e.example", "c@e.example")
        await connection.send(one, MESSAGE, lambda: None)
        await connection.send(two, MESSAGE, lambda: None, lambda: (three, MESSAGE))
        assert connection.offered
        await connection.close()

    with serve() as server:
        run(give_up())
        assert [one.rcpt for one in server.messages] == ["a@e.example", "b@e.example"]


@pytest.mark.parametrize("pipelining", [True, False])
def test_behind_a_slow_answer_or_without_pipelining_nothing_is_offered(
    serve: Serve, connect: Connect, run: Run[Any], pipelining: bool
) -> None:
    rules = [Rule("dot", delay=0.3)] if pipelining else []
    with serve(*rules, pipelining=pipelining) as server:
        _, _, offered = run(carry(connect(server.url), envelopes("a@e.example", "b@e.example", "c@e.example")))
        assert len(server.messages) == 3
    assert not any(offered)


def test_the_message_limit_counts_what_is_offered(serve: Serve, connect: Connect, run: Run[Any]) -> None:
    names = [f"r{n}@e.example" for n in range(5)]
    with serve() as server:
        exchanges, _, offered = run(carry(connect(server.url, limit=3), envelopes(*names)))
        assert [one.rcpt for one in server.messages] == names[:3]
    assert len(exchanges) == 3
    assert offered == [False, True, False]


@pytest.mark.parametrize("said_before", [False, True])
def test_421_to_mail_is_the_next_hops_word(
    serve: Serve, connect: Connect, run: Run[Any], said_before: bool
) -> None:
    """As the first thing it says, it is a refusal at the door; later that connection has had enough messages."""
    with serve(Rule("mail", reply="421 4.7.0 too much for today", nth_here=2 if said_before else 1)) as server:
        exchanges, _, _ = run(carry(connect(server.url), envelopes("a@e.example", "b@e.example")))
    last = exchanges[-1]
    assert last.stage is Stage.CONNECT
    assert last.judgement.outcome is Outcome.UNREACHABLE
    assert (last.reply is None) is said_before
    assert "too much for today" in last.detail


def test_the_answer_to_the_message_has_a_deadline_of_its_own(serve: Serve, connect: Connect, run: Run[Any]) -> None:
    """A relay may scan for long before it answers; cutting it short would send the reader a double."""
    with serve(Rule("dot", delay=0.6)) as server:
        patient = replace(connect(server.url, timeout=0.3), done_timeout=5.0)
        exchanges, _, _ = run(carry(patient, envelopes("a@e.example")))
    assert exchanges[0].judgement.outcome is Outcome.ACCEPTED
