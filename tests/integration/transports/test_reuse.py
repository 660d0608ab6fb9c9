"""Between two messages: limits, servers that close or speak unasked, and many connections at once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.integration.transports.conftest import Connect, Run, Serve
from tests.smtpd import Rule, SmtpServer
from worker.delivery.transports.base import Exchange
from worker.delivery.transports.smtp import SmtpTransport
from worker.domain.message import Envelope, Message
from worker.domain.replies import Outcome, Stage

MESSAGE = Message(b"Message-ID: <1@d.example>\r\n\r\nhello\r\n")


def envelope(number: int) -> Envelope:
    return Envelope("b@d.example", f"r{number}@e.example")


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the client's own state, which nothing announces
            await asyncio.sleep(0.001)


async def send_after_the_server_acted(transport: SmtpTransport) -> tuple[Exchange, Exchange]:
    connection = await transport.open()
    first = await connection.send(envelope(1), MESSAGE, lambda: None)
    await until(lambda: not connection.usable)
    begun: list[int] = []
    second = await connection.send(envelope(2), MESSAGE, lambda: begun.append(2))
    assert begun == []
    await connection.close()
    return first, second


@pytest.mark.parametrize(("rule", "detail"), [
    # Yahoo at its limit: no word
    (Rule("after", cut=True), "connection closed by the server"),
    (Rule("after", reply="421 4.4.2 idle too long", cut=True), "421 4.4.2 idle too long"),
    (Rule("after", reply="421 4.4.2 idle too long"), "the server spoke between messages: 421 4.4.2 idle too long"),
    (Rule("after", reply="250 2.0.0 once more"), "the server spoke between messages: 250 2.0.0 once more"),
    (Rule("after", reply="gibberish"), "not an SMTP reply: b'gibberish"),
])
def test_a_server_that_closes_or_speaks_between_messages_gets_no_further_one(
    serve: Serve, connect: Connect, run: Run[Any], rule: Rule, detail: str
) -> None:
    with serve(rule) as server:
        first, second = run(send_after_the_server_acted(connect(server.url)))
        assert server.mails == 1
    assert first.judgement.outcome is Outcome.ACCEPTED
    assert (second.stage, second.reply) == (Stage.CONNECT, None)
    assert detail in second.detail


def test_half_an_unasked_reply_is_noticed_too(serve: Serve, connect: Connect, run: Run[Any]) -> None:
    async def half(transport: SmtpTransport) -> None:
        connection = await transport.open()
        await connection.send(envelope(1), MESSAGE, lambda: None)
        await until(lambda: not connection.usable)
        exchange = await connection.send(envelope(2), MESSAGE, lambda: None)
        assert (exchange.stage, exchange.detail) == (Stage.CONNECT, "half a reply came unasked")
        await connection.close()

    with serve(Rule("after", reply="421-4.4.2 idle")) as server:
        run(half(connect(server.url)))


def test_a_close_that_crosses_with_the_next_message_counts_as_never_offered(
    serve: Serve, connect: Connect, run: Run[Any]
) -> None:
    async def two(transport: SmtpTransport) -> list[Exchange]:
        connection = await transport.open()
        exchanges = [await connection.send(envelope(number), MESSAGE, lambda: None) for number in (1, 2)]
        await connection.close()
        return exchanges

    with serve(Rule("mail", cut=True, nth_here=2)) as server:
        exchanges = run(two(connect(server.url)))
        assert server.mails == 2
    assert exchanges[0].judgement.outcome is Outcome.ACCEPTED
    assert (exchanges[1].stage, exchanges[1].reply) == (Stage.CONNECT, None)


async def carry(transport: SmtpTransport, numbers: list[int]) -> int:
    """As a worker does: a new connection whenever the old one cannot be used; how many it took."""
    connection, opened = await transport.open(), 1
    while numbers:
        number = numbers.pop()
        exchange = await connection.send(envelope(number), MESSAGE, lambda: None)
        if exchange.stage is Stage.CONNECT:
            numbers.append(number)
        if not connection.usable:
            await connection.close()
            connection, opened = await transport.open(), opened + 1
    await connection.close()
    return opened


def test_no_row_is_lost_where_the_server_closes_at_its_own_limit(
    serve: Serve, connect: Connect, run: Run[Any]
) -> None:
    with serve(max_messages=3) as server:
        run(carry(connect(server.url), list(range(20))))
        assert sorted(one.rcpt for one in server.messages) == sorted(f"r{number}@e.example" for number in range(20))


def test_our_own_limit_opens_a_new_connection_and_says_quit(serve: Serve, connect: Connect, run: Run[Any]) -> None:
    with serve() as server:
        assert run(carry(connect(server.url, limit=5), list(range(20)))) == 5
        assert [commands[-1] for commands in server.commands] == ["QUIT"] * 5
        assert len(server.messages) == 20
        assert server.interrupted == []


def test_many_connections_at_once_lose_and_double_nothing(serve: Serve, connect: Connect, run: Run[Any]) -> None:
    async def all_at_once(transport: SmtpTransport, numbers: list[int]) -> None:
        await asyncio.gather(*(carry(transport, numbers) for _ in range(20)))

    with serve(latency=0.001) as server:
        run(all_at_once(connect(server.url, limit=10), list(range(400))))
        assert len({one.rcpt for one in server.messages}) == len(server.messages) == 400
        assert server.most_open > 1
        assert server.open_conversations == 0


def test_the_body_is_announced_before_its_first_byte_and_not_at_all_without_one(
    serve: Serve, connect: Connect, run: Run[Any]
) -> None:
    """What the journal says is never behind the wire: at that moment the server has seen DATA and no body."""

    async def watch(transport: SmtpTransport, server: SmtpServer) -> list[tuple[str, int]]:
        seen: list[tuple[str, int]] = []
        connection = await transport.open()
        for number in (1, 2):
            await connection.send(
                envelope(number), MESSAGE, lambda: seen.append((server.commands[0][-1], len(server.messages)))
            )
        await connection.close()
        return seen

    with serve(Rule("rcpt", reply="550 5.1.1 no", rcpt="r1@e.example")) as server:
        assert run(watch(connect(server.url), server)) == [("DATA", 0)]


def test_the_deadline_is_each_replys_own(serve: Serve, connect: Connect, run: Run[Any]) -> None:
    """Three answers that come in time one after the other, though together they take longer than one may."""

    async def one(transport: SmtpTransport) -> Exchange:
        connection = await transport.open()
        exchange = await connection.send(envelope(1), MESSAGE, lambda: None)
        await connection.close()
        return exchange

    delays = [Rule(at, delay=0.25) for at in ("mail", "rcpt", "data", "dot")]
    with serve(*delays) as server:
        assert run(one(connect(server.url, timeout=0.6))).judgement.outcome is Outcome.ACCEPTED
