"""Servers that mean no good: what they write without end, or too slowly, costs them the line, and us nothing more."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.integration.transports.conftest import Connect, Run, Serve
from tests.smtpd import Rule
from worker.delivery.transports import wire
from worker.delivery.transports.base import Exchange
from worker.delivery.transports.reading import RawReply, ReplyReader
from worker.delivery.transports.smtp import SmtpTransport
from worker.domain.message import Envelope, Message
from worker.domain.replies import Outcome, Stage

MESSAGE = Message(b"Message-ID: <1@d.example>\r\n\r\nhello\r\n")
ENVELOPE = Envelope("b@d.example", "r@e.example")
LITTLE, MUCH = "\n".join(["250 x"] * 3), "\n".join(["250 x"] * 200_000)


async def until_hung_up(server: Any) -> None:
    """Away from the loop, which is to read meanwhile."""
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, server.wait_for, lambda one: one.connections == 1 and one.open_connections == 0)


async def send_twice(transport: SmtpTransport, server: Any) -> list[Exchange]:
    connection = await transport.open()
    first = await connection.send(ENVELOPE, MESSAGE, lambda: None)
    await until_hung_up(server)
    second = await connection.send(ENVELOPE, MESSAGE, lambda: None)
    await connection.close()
    return [first, second]


@pytest.fixture
def gulps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many replies were made of each piece that was read."""
    made: list[int] = []

    class Counting(ReplyReader):
        def feed(self, data: bytes) -> list[RawReply]:
            replies = super().feed(data)
            made.append(len(replies))
            return replies

    monkeypatch.setattr(wire, "ReplyReader", Counting)
    return made


@pytest.mark.parametrize("said", [LITTLE, MUCH], ids=["three replies", "a flood"])
def test_who_goes_on_talking_between_messages_is_hung_up_on(
    serve: Serve, connect: Connect, run: Run[Any], gulps: list[int], said: str
) -> None:
    """Nobody reads there: it filled the memory, and the loop had time for nothing else."""
    with serve(Rule("after", reply=said)) as server:
        first, second = run(send_twice(connect(server.url), server))
    assert first.judgement.outcome is Outcome.ACCEPTED
    assert (second.stage, second.reply) == (Stage.CONNECT, None)
    assert second.detail == "the server spoke between messages: 250 x"
    assert sum(gulps) < 2000


def test_a_flood_behind_the_answer_to_a_message_leaves_the_answer(
    serve: Serve, connect: Connect, run: Run[Any], gulps: list[int]
) -> None:
    with serve(Rule("dot", reply=f"250 2.0.0 taken\n{MUCH}", accept=True)) as server:
        first, second = run(send_twice(connect(server.url), server))
    assert str(first.reply) == "250 2.0.0 taken"
    assert second.stage is Stage.CONNECT
    assert sum(gulps) < 2000


def test_a_flood_before_the_body_lets_none_of_it_out(serve: Serve, connect: Connect, run: Run[Any]) -> None:
    """Which of the replies is whose cannot be told any more."""
    with serve(Rule("mail", reply=MUCH)) as server:
        first, second = run(send_twice(connect(server.url), server))
        assert server.messages == []
    assert {first.judgement.outcome, second.judgement.outcome} == {Outcome.UNREACHABLE}


def test_a_long_reply_is_read_in_pieces(serve: Serve, connect: Connect, run: Run[Any]) -> None:
    lines = [f"550-5.1.1 {number:04}" for number in range(3000)]
    with serve(Rule("rcpt", reply="\n".join([*lines, "550 5.1.1 end"]), times=1)) as server:

        async def two() -> list[Exchange]:
            connection = await connect(server.url).open()
            exchanges = [await connection.send(ENVELOPE, MESSAGE, lambda: None) for _ in range(2)]
            await connection.close()
            return exchanges

        first, second = run(two())
    assert str(first.reply).startswith("550 5.1.1 0000 0001 0002 ")
    assert second.judgement.outcome is Outcome.ACCEPTED


@contextmanager
def dripping(reply: bytes, seconds: float) -> Iterator[tuple[int, threading.Event]]:
    """A server's port: it answers MAIL a byte at a time, over and over. And whether it was hung up on."""
    stop, hung_up = threading.Event(), threading.Event()

    def serve(listener: socket.socket) -> None:
        client, _ = listener.accept()
        with client:
            client.sendall(b"220 hi\r\n")
            client.recv(1000)
            client.sendall(b"250 hi\r\n")
            client.recv(1000)
            try:
                while not stop.is_set():
                    for one in reply:
                        client.sendall(bytes([one]))
                        if stop.wait(seconds):
                            return
            except OSError:
                hung_up.set()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1], hung_up
        finally:
            stop.set()
            thread.join(10)


@pytest.mark.parametrize("reply", [b"250 ok", b"250-ok\r\n"], ids=["a line", "lines"])
def test_bytes_now_and_then_are_no_answer(connect: Connect, run: Run[Any], reply: bytes) -> None:
    """Each moved the deadline on: a row could be held for ever. A reply has one timeout, however many lines it has."""

    async def send(port: int) -> Exchange:
        connection = await connect(f"smtp://127.0.0.1:{port}", timeout=0.3).open()
        async with asyncio.timeout(10):
            exchange = await connection.send(ENVELOPE, MESSAGE, lambda: None)
        await connection.close()
        return exchange

    with dripping(reply, 0.05) as (port, hung_up):
        exchange = run(send(port))
        assert hung_up.wait(10)
    assert (exchange.stage, exchange.detail) == (Stage.MAIL, "timeout after 0.3 s waiting for the reply to MAIL")


def test_each_reply_of_a_group_has_its_timeout(serve: Serve, connect: Connect, run: Run[Any]) -> None:
    """Three of them, each within its own, may take longer than one."""
    rules = [Rule(at, delay=0.4) for at in ("mail", "rcpt", "data")]

    async def send(transport: SmtpTransport) -> Exchange:
        connection = await transport.open()
        exchange = await connection.send(ENVELOPE, MESSAGE, lambda: None)
        await connection.close()
        return exchange

    with serve(*rules) as server:
        assert run(send(connect(server.url, timeout=0.9))).judgement.outcome is Outcome.ACCEPTED
