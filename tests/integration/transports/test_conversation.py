"""Everything a server may do between MAIL FROM and the answer to the final dot."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.integration.transports.conftest import Connect, Run, Serve
from tests.smtpd import At, Certificate, Rule
from worker.delivery.transports.base import Exchange
from worker.delivery.transports.smtp import SmtpTransport
from worker.domain.delivery import Reason
from worker.domain.message import Envelope, Message
from worker.domain.replies import Outcome, Stage

MESSAGE = Message(b"Message-ID: <1@d.example>\r\n\r\nhello\r\n")
A, B, C = "a@e.example", "b@e.example", "c@e.example"
BOTH = pytest.mark.parametrize("pipelining", [True, False], ids=["pipelining", "one by one"])


async def send_all(
    transport: SmtpTransport, *addresses: str, message: Message = MESSAGE
) -> tuple[list[Exchange], bool]:
    connection = await transport.open()
    exchanges = [await connection.send(Envelope("b+1@d.example", to), message, lambda: None) for to in addresses]
    usable = connection.usable
    await connection.close()
    return exchanges, usable


def stages(exchanges: list[Exchange]) -> list[tuple[Stage, int | None]]:
    return [(one.stage, None if one.reply is None else one.reply.code) for one in exchanges]


@BOTH
def test_mail_refused_opens_nothing_and_needs_no_reset(
    serve: Serve, connect: Connect, run: Run[Any], pipelining: bool
) -> None:
    with serve(Rule("mail", reply="451 4.3.0 later", times=1), pipelining=pipelining) as server:
        exchanges, usable = run(send_all(connect(server.url), A, B))
        assert [one.rcpt for one in server.messages] == [B]
        assert "RSET" not in server.commands[0]
    assert stages(exchanges) == [(Stage.MAIL, 451), (Stage.BODY, 250)]
    assert usable


@BOTH
def test_a_refused_recipient_is_reset_before_the_next(
    serve: Serve, connect: Connect, run: Run[Any], pipelining: bool
) -> None:
    with serve(Rule("rcpt", reply="550 5.1.1 no such user", rcpt=A), pipelining=pipelining) as server:
        exchanges, usable = run(send_all(connect(server.url), A, B, A))
        assert [one.rcpt for one in server.messages] == [B]
        assert server.commands[0].count("RSET") == 1
        assert server.connections == 1
    assert stages(exchanges) == [(Stage.RCPT, 550), (Stage.BODY, 250), (Stage.RCPT, 550)]
    assert exchanges[0].judgement.suppress
    assert usable


def test_pipelining_is_one_write_and_without_it_each_command_waits(
    serve: Serve, connect: Connect, run: Run[Any]
) -> None:
    """With 421 as the answer to MAIL, a client that waited for it has said nothing more."""
    for pipelining, said in ((True, ["RCPT TO:<a@e.example>", "DATA"]), (False, [])):
        with serve(Rule("mail", reply="421 4.3.2 no", delay=0.05), pipelining=pipelining) as server:
            exchanges, usable = run(send_all(connect(server.url), A))
            assert server.commands[0][2:4] == said
        assert stages(exchanges) == [(Stage.CONNECT, 421)]  # the next hop's word, before it heard of a recipient
        assert not usable


def test_data_answered_354_after_a_refused_recipient_ends_with_a_lone_dot(
    serve: Serve, connect: Connect, run: Run[Any]
) -> None:
    rules = Rule("rcpt", reply="550 5.1.1 no such user", rcpt=A), Rule("data", reply="354 go on", times=1)
    with serve(*rules) as server:
        exchanges, usable = run(send_all(connect(server.url), A, B))
        assert [one.rcpt for one in server.messages] == [B]
        assert "RSET" not in server.commands[0]
    assert stages(exchanges) == [(Stage.RCPT, 550), (Stage.BODY, 250)]
    assert usable


@pytest.mark.parametrize("rule", [Rule("dot", reply="421 4.3.2 bye", times=1), Rule("dot", cut=True, times=1)])
def test_a_line_lost_at_the_lone_dot_still_leaves_the_refusal(
    serve: Serve, connect: Connect, run: Run[Any], rule: Rule
) -> None:
    rules = Rule("rcpt", reply="550 5.1.1 no such user", rcpt=A), Rule("data", reply="354 go on", times=1), rule
    with serve(*rules) as server:
        exchanges, usable = run(send_all(connect(server.url), A))
        assert server.messages == []
    assert stages(exchanges) == [(Stage.RCPT, 550)]
    assert not usable


def test_a_server_that_refused_mail_and_takes_data_gets_no_empty_message(
    serve: Serve, connect: Connect, run: Run[Any]
) -> None:
    rules = Rule("mail", reply="451 4.3.0 later"), Rule("rcpt", reply="250 ok"), Rule("data", reply="354 go on")
    with serve(*rules) as server:
        exchanges, usable = run(send_all(connect(server.url), A))
        assert server.messages == []
    assert stages(exchanges) == [(Stage.MAIL, 451)]
    assert not usable


@BOTH
@pytest.mark.parametrize("reply", ["451 4.3.0 later", "554 5.5.1 no"])
def test_data_refused_is_reset(
    serve: Serve, connect: Connect, run: Run[Any], pipelining: bool, reply: str
) -> None:
    with serve(Rule("data", reply=reply, rcpt=A), pipelining=pipelining) as server:
        exchanges, usable = run(send_all(connect(server.url), A, B))
        assert [one.rcpt for one in server.messages] == [B]
    assert stages(exchanges) == [(Stage.DATA, int(reply[:3])), (Stage.BODY, 250)]
    assert usable


@BOTH
@pytest.mark.parametrize(("at", "reply", "stage"), [
    ("data", "250 2.0.0 ok", Stage.DATA), ("rcpt", "354 go on", Stage.RCPT), ("mail", "334 x", Stage.MAIL),
    ("data", "221 2.0.0 bye", Stage.DATA), ("dot", "354 go on", Stage.BODY),
])
def test_an_answer_that_makes_no_sense_is_no_acceptance(
    serve: Serve, connect: Connect, run: Run[Any], pipelining: bool, at: At, reply: str, stage: Stage
) -> None:
    with serve(Rule(at, reply=reply), pipelining=pipelining) as server:
        exchanges, usable = run(send_all(connect(server.url), A))
    assert stages(exchanges) == [(stage, None)]
    assert f"unexpected reply to {'the message' if at == 'dot' else at.upper()}: {reply[:3]}" in exchanges[0].detail
    assert exchanges[0].judgement.outcome is (Outcome.UNKNOWN if at == "dot" else Outcome.UNREACHABLE)
    assert not usable


@BOTH
@pytest.mark.parametrize(("at", "stage", "name"), [
    ("mail", Stage.MAIL, "MAIL"), ("rcpt", Stage.RCPT, "RCPT"), ("data", Stage.DATA, "DATA"),
    ("body", Stage.BODY, "the message"), ("dot", Stage.BODY, "the message"),
])
def test_silence_ends_at_the_deadline_and_names_what_was_waited_for(
    serve: Serve, connect: Connect, run: Run[Any], pipelining: bool, at: At, stage: Stage, name: str
) -> None:
    with serve(Rule(at, silent=True), pipelining=pipelining) as server:
        exchanges, usable = run(send_all(connect(server.url, timeout=0.1), A))
    assert stages(exchanges) == [(stage, None)]
    assert exchanges[0].detail == f"timeout after 0.1 s waiting for the reply to {name}"
    assert exchanges[0].judgement.outcome is (Outcome.UNKNOWN if stage is Stage.BODY else Outcome.UNREACHABLE)
    assert not usable


@BOTH
@pytest.mark.parametrize(("at", "stage"), [
    ("mail", Stage.MAIL), ("rcpt", Stage.RCPT), ("data", Stage.DATA), ("body", Stage.BODY), ("dot", Stage.BODY),
])
def test_a_cut_line_ends_where_it_was_cut(
    serve: Serve, connect: Connect, run: Run[Any], pipelining: bool, at: At, stage: Stage
) -> None:
    with serve(Rule(at, cut=True), pipelining=pipelining) as server:
        exchanges, usable = run(send_all(connect(server.url), A))
        server.wait_for(lambda one: len(one.interrupted) == 1)
        assert not server.interrupted[0].replied
    assert stages(exchanges) == [(stage, None)]
    assert exchanges[0].detail.startswith("connection ")
    assert not usable


def test_a_reply_split_over_packets_and_lines_is_one_reply(serve: Serve, connect: Connect, run: Run[Any]) -> None:
    reply = "550-5.1.1 The account\n550-5.1.1 does not exist\n550 5.1.1 here"
    with serve(Rule("rcpt", reply=reply)) as server:
        exchanges, _ = run(send_all(connect(server.url), A))
    assert str(exchanges[0].reply) == "550 5.1.1 The account does not exist here"


@pytest.mark.parametrize(("reply", "detail"), [
    ("hello there", "not an SMTP reply: b'hello there"), ("250 " + "x" * 9000, "a reply line over 8192"),
    ("\n".join(["250-" + "x" * 1000] * 70), "a reply over 65536 bytes"),
])
def test_garbage_ends_the_connection(serve: Serve, connect: Connect, run: Run[Any], reply: str, detail: str) -> None:
    with serve(Rule("rcpt", reply=reply)) as server:
        exchanges, usable = run(send_all(connect(server.url), A))
    assert stages(exchanges) == [(Stage.RCPT, None)]
    assert detail in exchanges[0].detail
    assert not usable


def test_non_ascii_text_and_a_421_behind_a_refusal(serve: Serve, connect: Connect, run: Run[Any]) -> None:
    """The first refusal decides about the recipient; the 421 about the line."""
    rules = Rule("rcpt", reply="550 5.1.1 unbekannter Empfänger \udcff"), Rule("data", reply="421 4.3.2 bye")
    with serve(*rules) as server:
        exchanges, usable = run(send_all(connect(server.url), A))
    assert str(exchanges[0].reply) == "550 5.1.1 unbekannter Empfänger \ufffd"
    assert not usable


def test_451_first_and_250_later(serve: Serve, connect: Connect, run: Run[Any]) -> None:
    with serve(Rule("rcpt", reply="451 4.7.1 greylisted", rcpt=A, times=1)) as server:
        exchanges, _ = run(send_all(connect(server.url), A, B, A))
        assert [one.rcpt for one in server.messages] == [B, A]
    assert stages(exchanges) == [(Stage.RCPT, 451), (Stage.BODY, 250), (Stage.BODY, 250)]


@BOTH
def test_a_refused_reset_offers_nothing_more_on_that_line(
    serve: Serve, connect: Connect, run: Run[Any], pipelining: bool
) -> None:
    rules = Rule("rcpt", reply="550 5.1.1 no", rcpt=A), Rule("rset", reply="421 4.4.2 too many errors")
    with serve(*rules, pipelining=pipelining) as server:
        exchanges, usable = run(send_all(connect(server.url), A, B))
    assert stages(exchanges) == [(Stage.RCPT, 550), (Stage.CONNECT, None)]
    assert "421 4.4.2 too many errors" in exchanges[1].detail
    assert not usable


def test_dots_line_ends_and_size_arrive_as_they_were(serve: Serve, connect: Connect, run: Run[Any]) -> None:
    bodies = [
        b"Subject: x\r\n\r\n.\r\n..\r\n.x\r\nend\r\n", b".\r\n", b"x\r\n", b"y" * 300_000 + b"\r\n",
        b"." * 70_000 + b"\r\n",
    ]
    with serve() as server:
        for message in bodies:
            run(send_all(connect(server.url), A, message=Message(message)))
        assert [one.data for one in server.messages] == bodies
        assert [one.parameters for one in server.messages] == [f"SIZE={len(one)}" for one in bodies]


def test_a_large_message_goes_out_whole_under_tls(
    serve: Serve, connect: Connect, run: Run[Any], certificate: Certificate, ca_file: str
) -> None:
    message = b"Subject: x\r\n\r\n" + b"0123456789\r\n" * 100_000
    with serve(tls="starttls", certificate=certificate) as server:
        exchanges, usable = run(
            send_all(connect(f"{server.url}?tls=starttls", ca_file=ca_file), A, B, message=Message(message))
        )
        assert [one.data for one in server.messages] == [message, message]
    assert stages(exchanges) == [(Stage.BODY, 250)] * 2
    assert usable


def test_8bit_smtputf8_and_size_are_asked_for_only_where_needed(serve: Serve, connect: Connect, run: Run[Any]) -> None:
    eight_bit = "Subject: x\r\n\r\nGrüße\r\n".encode()
    with serve() as server:
        run(send_all(connect(server.url), A, message=Message(eight_bit)))
        run(send_all(connect(server.url), "jürgen@e.example"))
        assert server.messages[0].parameters == f"SIZE={len(eight_bit)} BODY=8BITMIME"
        assert server.messages[1].parameters == f"SIZE={len(MESSAGE.data)} SMTPUTF8"
        assert server.messages[1].rcpt == "jürgen@e.example"


def test_what_the_server_does_not_offer_is_refused_before_a_word(serve: Serve, connect: Connect, run: Run[Any]) -> None:
    with serve(smtputf8=False, eight_bit=False, size=1000) as server:
        exchanges, usable = run(send_all(connect(server.url), "jürgen@e.example", A))
        big, _ = run(send_all(connect(server.url), A, message=Message(b"x" * 2000)))
        eight, _ = run(send_all(connect(server.url), A, message=Message(b"\xc3\xbc\r\n")))
        assert server.mails == 1
    assert str(exchanges[0].reply) == "553 5.6.7 address needs SMTPUTF8, which the next hop does not offer"
    assert exchanges[0].judgement.outcome is Outcome.FAULT
    assert exchanges[0].judgement.reason is Reason.SMTPUTF8_UNAVAILABLE
    assert stages([*exchanges, *big, *eight]) == [
        (Stage.MAIL, 553), (Stage.BODY, 250), (Stage.MAIL, 552), (Stage.MAIL, 554),
    ]
    assert big[0].reply is not None
    assert big[0].reply.enhanced == "5.3.4"
    assert usable


@pytest.mark.parametrize("at", ["mail", "dot"])
def test_a_cancelled_send_closes_the_connection(serve: Serve, connect: Connect, run: Run[Any], at: At) -> None:
    async def cancel(transport: SmtpTransport, began: asyncio.Event) -> tuple[Exchange, bool]:
        connection = await transport.open()
        task = asyncio.create_task(connection.send(Envelope("x@d.example", A), MESSAGE, lambda: None))
        await asyncio.wait_for(began.wait(), 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        usable = connection.usable
        after = await connection.send(Envelope("x@d.example", B), MESSAGE, lambda: None)
        await connection.close()
        return after, usable

    async def watch(transport: SmtpTransport) -> tuple[Exchange, bool]:
        began = asyncio.Event()
        loop = asyncio.get_running_loop()
        seen = loop.run_in_executor(None, server.wait_for, lambda one: one.mails == 1)
        seen.add_done_callback(lambda _: began.set())
        return await cancel(transport, began)

    with serve(Rule(at, silent=True)) as server:
        after, usable = run(watch(connect(server.url)))
        server.wait_for(lambda one: len(one.interrupted) == 1)
        assert server.messages == []
    assert stages([after]) == [(Stage.CONNECT, None)]
    assert not usable
