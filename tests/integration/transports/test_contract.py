"""What every transport owes its callers: the same tests over SMTP on a socket and over its in-memory twin."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from tests.integration.transports.conftest import Connect, Run, Serve
from tests.smtpd import At, Rule
from worker.delivery.transports.base import Exchange, HopUnavailable, Transport
from worker.delivery.transports.memory import Answer, InMemoryTransport
from worker.domain.message import Envelope, Message
from worker.domain.replies import Outcome, Reply, Stage

MESSAGE = Message(b"Message-ID: <1@d.example>\r\nSubject: x\r\n\r\nhello\r\n.dot\r\n")
A, B, C = "a@e.example", "b@e.example", "c@e.example"
Received = Callable[[], list[tuple[Envelope, bytes]]]


@dataclass(frozen=True)
class Stand:
    """A transport whose other end follows a script, and what that end has taken."""

    transport: Transport
    received: Received


Make = Callable[[dict[str, list[Answer]], int], AbstractContextManager[Stand]]


def _rules(script: dict[str, list[Answer]]) -> Iterator[Rule]:
    places: dict[Stage, At] = {Stage.RCPT: "rcpt", Stage.DATA: "data", Stage.BODY: "dot"}
    for address, answers in script.items():
        for answer in answers:
            reply = None if answer.reply is None else str(answer.reply)
            yield Rule(places[answer.stage], reply=reply, cut=reply is None, rcpt=address, times=1, accept=answer.taken)


@pytest.fixture(params=["memory", "smtp", "smtp without PIPELINING"])
def make(request: pytest.FixtureRequest, serve: Serve, connect: Connect) -> Make:
    @contextmanager
    def memory(script: dict[str, list[Answer]], limit: int) -> Iterator[Stand]:
        transport = InMemoryTransport(script, messages_per_connection=limit)
        yield Stand(transport, lambda: list(transport.sent))

    @contextmanager
    def smtp(script: dict[str, list[Answer]], limit: int) -> Iterator[Stand]:
        with serve(*_rules(script), pipelining=request.param == "smtp") as server:
            yield Stand(
                connect(server.url, limit=limit),
                lambda: [(Envelope(one.mail_from, one.rcpt), one.data) for one in server.messages],
            )

    return memory if request.param == "memory" else smtp


def envelope(address: str) -> Envelope:
    return Envelope("b+1@d.example", address)


async def send_all(transport: Transport, *addresses: str) -> tuple[list[Exchange], list[str], bool]:
    """Over one connection: the exchanges, for whom the body was begun, and whether it could go on."""
    connection = await transport.open()
    bodies: list[str] = []
    exchanges = []
    for address in addresses:
        exchanges.append(await connection.send(envelope(address), MESSAGE, partial(bodies.append, address)))
    usable = connection.usable
    await connection.close()
    return exchanges, bodies, usable


def test_what_is_accepted_arrives_as_it_was(make: Make, run: Run[Any]) -> None:
    with make({}, 100) as stand:
        exchanges, bodies, usable = run(send_all(stand.transport, A, B))
        assert stand.received() == [(envelope(A), MESSAGE.data), (envelope(B), MESSAGE.data)]
    assert [one.judgement.outcome for one in exchanges] == [Outcome.ACCEPTED] * 2
    assert all(one.stage is Stage.BODY and one.reply is not None and one.detail == "" for one in exchanges)
    assert all(0 <= one.duration < 5 for one in exchanges)
    assert bodies == [A, B]
    assert usable


@pytest.mark.parametrize("stage", [Stage.RCPT, Stage.DATA, Stage.BODY])
@pytest.mark.parametrize("reply", [Reply(451, "4.3.0", "later"), Reply(550, "5.7.1", "never")])
def test_a_refusal_ends_one_envelope_and_not_the_connection(
    make: Make, run: Run[Any], stage: Stage, reply: Reply
) -> None:
    with make({B: [Answer(stage, reply)]}, 100) as stand:
        exchanges, bodies, usable = run(send_all(stand.transport, A, B, C, B))
        assert [one.rcpt_to for one, _ in stand.received()] == [A, C, B]
    assert (exchanges[1].stage, exchanges[1].reply) == (stage, reply)
    assert [one.judgement.outcome for one in exchanges[2:]] == [Outcome.ACCEPTED] * 2
    assert bodies == ([A, B, C, B] if stage is Stage.BODY else [A, C, B])
    assert usable


@pytest.mark.parametrize("stage", [Stage.RCPT, Stage.DATA, Stage.BODY])
def test_421_ends_the_connection_and_nothing_more_is_tried_on_it(make: Make, run: Run[Any], stage: Stage) -> None:
    reply = Reply(421, "4.3.2", "closing")
    with make({B: [Answer(stage, reply)]}, 100) as stand:
        exchanges, bodies, usable = run(send_all(stand.transport, A, B, C))
        assert [one.rcpt_to for one, _ in stand.received()] == [A]
    assert (exchanges[1].stage, exchanges[1].reply) == (stage, reply)
    assert exchanges[1].judgement.outcome is Outcome.TEMPORARY
    assert (exchanges[2].stage, exchanges[2].reply) == (Stage.CONNECT, None)
    assert C not in bodies
    assert not usable


@pytest.mark.parametrize("stage", [Stage.RCPT, Stage.DATA])
def test_a_cut_before_the_body_was_no_try(make: Make, run: Run[Any], stage: Stage) -> None:
    with make({B: [Answer(stage)]}, 100) as stand:
        exchanges, bodies, usable = run(send_all(stand.transport, A, B, C))
        assert [one.rcpt_to for one, _ in stand.received()] == [A]
    assert (exchanges[1].stage, exchanges[1].reply) == (stage, None)
    assert exchanges[1].detail
    assert exchanges[1].judgement.outcome is Outcome.UNREACHABLE
    assert (exchanges[2].stage, exchanges[2].reply) == (Stage.CONNECT, None)
    assert bodies == [A]
    assert not usable


@pytest.mark.parametrize("taken", [True, False])
def test_a_cut_after_the_body_leaves_it_unknown(make: Make, run: Run[Any], taken: bool) -> None:
    with make({A: [Answer(Stage.BODY, taken=taken)]}, 100) as stand:
        exchanges, bodies, usable = run(send_all(stand.transport, A))
        assert len(stand.received()) == taken
    assert (exchanges[0].stage, exchanges[0].reply) == (Stage.BODY, None)
    assert exchanges[0].judgement.outcome is Outcome.UNKNOWN
    assert bodies == [A]
    assert not usable


def test_the_message_limit_ends_the_connection_in_good_order(make: Make, run: Run[Any]) -> None:
    with make({}, 2) as stand:
        exchanges, bodies, usable = run(send_all(stand.transport, A, B, C))
        assert [one.rcpt_to for one, _ in stand.received()] == [A, B]
    assert (exchanges[2].stage, exchanges[2].reply) == (Stage.CONNECT, None)
    assert exchanges[2].judgement.outcome is Outcome.UNREACHABLE
    assert "limit" in exchanges[2].detail
    assert bodies == [A, B]
    assert not usable


def test_an_address_that_could_end_its_command_writes_nothing(make: Make, run: Run[Any]) -> None:
    with make({}, 100) as stand:
        hostile = "a@e.example>\r\nRCPT TO:<b@e.example"
        exchanges, bodies, usable = run(send_all(stand.transport, hostile, A))
        assert [one.rcpt_to for one, _ in stand.received()] == [A]
    assert exchanges[0].judgement.outcome is Outcome.RECIPIENT
    assert bodies == [A]
    assert usable


def test_a_journal_that_fails_sends_nothing_and_ends_the_connection(make: Make, run: Run[Any]) -> None:
    def fail() -> None:
        raise OSError("no space left on device")

    async def one(transport: Transport) -> bool:
        connection = await transport.open()
        with pytest.raises(OSError, match="no space"):
            await connection.send(envelope(A), MESSAGE, fail)
        usable = connection.usable
        await connection.close()
        return usable

    with make({}, 100) as stand:
        assert not run(one(stand.transport))
        assert stand.received() == []


def test_closing_twice_is_one_goodbye(make: Make, run: Run[Any]) -> None:
    async def close_twice(transport: Transport) -> Exchange:
        connection = await transport.open()
        await connection.close()
        await connection.close()
        assert not connection.usable
        return await connection.send(envelope(A), MESSAGE, lambda: None)

    with make({}, 100) as stand:
        exchange = run(close_twice(stand.transport))
    assert (exchange.stage, exchange.reply) == (Stage.CONNECT, None)


def test_a_hop_that_is_down_says_so(run: Run[Any]) -> None:
    transport = InMemoryTransport(down=HopUnavailable("no route"))
    with pytest.raises(HopUnavailable, match="no route"):
        run(send_all(transport, A))
