"""From the socket to the login: TLS that is never dropped silently, logins, servers of every age."""

from __future__ import annotations

import asyncio
import base64
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.transports.conftest import Connect, Run, Serve
from tests.smtpd import At, Certificate, Rule, self_signed
from worker.delivery.transports.base import HopUnavailable
from worker.delivery.transports.offers import Offers
from worker.delivery.transports.smtp import SmtpTransport
from worker.domain.message import Envelope, Message
from worker.domain.replies import Outcome

MESSAGE = Message(b"Message-ID: <1@d.example>\r\n\r\nhello\r\n")


async def send_one(transport: SmtpTransport) -> Outcome:
    connection = await transport.open()
    exchange = await connection.send(Envelope("b@d.example", "r@e.example"), MESSAGE, lambda: None)
    await connection.close()
    return exchange.judgement.outcome


async def offers(transport: SmtpTransport) -> Offers:
    connection = await transport.open()
    await connection.close()
    return connection.offers


def refused(run: Run[Any], transport: SmtpTransport) -> HopUnavailable:
    with pytest.raises(HopUnavailable) as raised:
        run(send_one(transport))
    return raised.value


@pytest.mark.parametrize("tls", ["starttls", "tls"])
def test_mail_goes_out_under_tls(
    serve: Serve, connect: Connect, run: Run[Any], certificate: Certificate, ca_file: str, tls: str
) -> None:
    with serve(tls=tls, certificate=certificate) as server:
        transport = connect(f"smtp://localhost:{server.port}?tls={tls}", ca_file=ca_file)
        assert run(send_one(transport)) is Outcome.ACCEPTED
        assert run(send_one(connect(f"{server.url}?tls={tls}", ca_file=ca_file))) is Outcome.ACCEPTED
        # EHLO is said again under TLS (RFC 3207 §4.2)
        assert server.commands[0].count("EHLO client.example") == (2 if tls == "starttls" else 1)
        assert server.commands[0][-1] == "QUIT"


@pytest.mark.parametrize("tls", ["starttls", "tls"])
def test_an_untrusted_certificate_is_refused_unless_told_otherwise(
    serve: Serve, connect: Connect, run: Run[Any], certificate: Certificate, tls: str
) -> None:
    with serve(tls=tls, certificate=certificate) as server:
        url = f"{server.url}?tls={tls}"
        error = refused(run, connect(url))
        assert run(send_one(connect(url, verify=False))) is Outcome.ACCEPTED
        assert len(server.messages) == 1
    assert error.configuration
    assert "certificate is not trusted: self-signed certificate" in error.detail


@pytest.mark.parametrize("tls", ["starttls", "tls"])
def test_a_trusted_certificate_for_another_name_is_refused(
    serve: Serve, connect: Connect, run: Run[Any], tmp_path: Path, tls: str
) -> None:
    other = self_signed(tmp_path, "DNS:other.example")
    with serve(tls=tls, certificate=other) as server:
        error = refused(run, connect(f"smtp://localhost:{server.port}?tls={tls}", ca_file=str(other.cert)))
        assert server.mails == 0
    assert error.configuration
    assert "Hostname mismatch" in error.detail


def test_starttls_that_is_not_offered_sends_nothing_in_clear(serve: Serve, connect: Connect, run: Run[Any]) -> None:
    with serve(users={"u": "p"}) as server:
        error = refused(run, connect(f"smtp://u:p@127.0.0.1:{server.port}?tls=starttls"))
        assert server.commands == [["EHLO client.example"]]
    assert error.configuration
    assert "does not offer STARTTLS" in error.detail


@pytest.mark.parametrize(("reply", "configuration"), [("454 4.7.0 not now", False), ("502 5.5.1 no", True)])
def test_starttls_that_is_refused_sends_nothing_in_clear(
    serve: Serve, connect: Connect, run: Run[Any], certificate: Certificate, reply: str, configuration: bool
) -> None:
    with serve(Rule("starttls", reply=reply), tls="starttls", certificate=certificate) as server:
        error = refused(run, connect(f"{server.url}?tls=starttls"))
        assert server.mails == 0
    assert error.configuration == configuration
    assert str(error.reply) == reply


def test_bytes_in_clear_behind_starttls_are_an_attack(
    serve: Serve, connect: Connect, run: Run[Any], certificate: Certificate, ca_file: str
) -> None:
    """CVE-2011-0411: replies injected before TLS must not be read as if they came under it."""
    injected = b"250-evil\r\n250 AUTH PLAIN\r\n"
    with serve(tls="starttls", certificate=certificate, after_starttls=injected) as server:
        error = refused(run, connect(f"{server.url}?tls=starttls", ca_file=ca_file))
        assert server.mails == 0
    assert error.configuration
    assert "in clear" in error.detail


def test_half_a_line_in_clear_behind_starttls_is_one_too(
    serve: Serve, connect: Connect, run: Run[Any], certificate: Certificate, ca_file: str
) -> None:
    with serve(tls="starttls", certificate=certificate, after_starttls=b"250 ev") as server:
        assert "in clear" in refused(run, connect(f"{server.url}?tls=starttls", ca_file=ca_file)).detail


def test_tls_to_a_server_that_speaks_none_is_the_operators_to_mend(
    serve: Serve, connect: Connect, run: Run[Any]
) -> None:
    with serve() as server:
        error = refused(run, connect(f"smtps://127.0.0.1:{server.port}"))
    assert error.configuration
    assert error.detail.startswith("no TLS: ")


@pytest.mark.parametrize("auth", [("PLAIN", "LOGIN"), ("PLAIN",), ("LOGIN",), ("CRAM-MD5", "LOGIN")])
def test_a_login_is_taken(serve: Serve, connect: Connect, run: Run[Any], auth: tuple[str, ...]) -> None:
    with serve(users={"news@d.example": "pä ss:/"}, auth=auth) as server:
        url = f"smtp://news%40d.example:p%C3%A4%20ss%3A%2F@127.0.0.1:{server.port}"
        assert run(send_one(connect(url))) is Outcome.ACCEPTED


def test_auth_plain_without_an_initial_response(serve: Serve, connect: Connect, run: Run[Any]) -> None:
    with serve(Rule("auth", reply="334 "), users={"u": "p"}) as server:
        refused(run, connect(f"smtp://u:p@127.0.0.1:{server.port}"))
        # the server asked for it, so it was said as a line of its own
        assert server.commands[0][-1] == base64.b64encode(b"\0u\0p").decode()


@pytest.mark.parametrize("auth", [("PLAIN",), ("LOGIN",)])
def test_a_wrong_password_is_the_operators_to_mend_and_is_not_shown(
    serve: Serve, connect: Connect, run: Run[Any], auth: tuple[str, ...]
) -> None:
    with serve(users={"u": "right"}, auth=auth) as server:
        error = refused(run, connect(f"smtp://u:hunter2@127.0.0.1:{server.port}"))
    assert error.configuration
    assert str(error) == "the login was refused: 535 5.7.8 wrong user or password"


def test_a_login_refused_for_now_is_not(serve: Serve, connect: Connect, run: Run[Any]) -> None:
    with serve(Rule("auth", reply="454 4.7.0 directory is down"), users={"u": "p"}) as server:
        assert not refused(run, connect(f"smtp://u:p@127.0.0.1:{server.port}")).configuration


def test_a_login_where_none_is_offered(serve: Serve, connect: Connect, run: Run[Any]) -> None:
    with serve() as server:
        error = refused(run, connect(f"smtp://u:p@127.0.0.1:{server.port}"))
    assert error.configuration
    assert "AUTH PLAIN or LOGIN" in error.detail


def test_a_server_that_knows_no_ehlo_is_greeted_with_helo(serve: Serve, connect: Connect, run: Run[Any]) -> None:
    with serve(esmtp=False) as server:
        assert run(offers(connect(server.url))) == Offers()
        assert run(send_one(connect(server.url))) is Outcome.ACCEPTED
        assert server.commands[1][:2] == ["EHLO client.example", "HELO client.example"]
        assert server.messages[0].parameters == ""


@pytest.mark.parametrize(("at", "reply"), [
    ("connect", "554 5.7.1 your address is listed"), ("connect", "421 4.3.2 too many connections"),
    ("ehlo", "421 4.3.2 later"), ("ehlo", "451 4.3.0 later"),
])
def test_a_refusal_at_the_door_carries_its_reply(
    serve: Serve, connect: Connect, run: Run[Any], at: At, reply: str
) -> None:
    with serve(Rule(at, reply=reply)) as server:
        error = refused(run, connect(server.url))
    assert str(error.reply) == reply
    assert not error.configuration


@pytest.mark.parametrize("at", ["connect", "ehlo", "starttls", "auth"])
@pytest.mark.parametrize("silent", [True, False])
def test_silence_and_cuts_at_the_door_have_a_deadline(
    serve: Serve, connect: Connect, run: Run[Any], certificate: Certificate, at: At, silent: bool
) -> None:
    rule = Rule(at, silent=silent, cut=not silent)
    with serve(rule, tls="starttls", certificate=certificate, users={"u": "p"}) as server:
        url = f"smtp://u:p@127.0.0.1:{server.port}?tls={'starttls' if at == 'starttls' else 'none'}"
        error = refused(run, connect(url, connect_timeout=0.1 if silent else 5))
    assert error.reply is None
    assert not error.configuration
    said = "greeting" if at == "connect" else f"reply to {at.upper()}"
    assert error.detail.startswith("timeout after 0.1 s waiting" if silent else "connection ")
    assert error.detail.endswith(said)


def test_nobody_there_and_no_such_name(connect: Connect, run: Run[Any]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    error = refused(run, connect(f"smtp://127.0.0.1:{port}"))
    assert error.detail.startswith(f"no connection to 127.0.0.1:{port}: ")
    assert not error.configuration
    assert "no connection to nowhere.invalid:25" in refused(run, connect("smtp://nowhere.invalid")).detail


@contextmanager
def mute_listener() -> Iterator[int]:
    """Accepts connections and never says a word: TLS that is never shaken hands on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        held: list[socket.socket] = []

        def accept() -> None:
            with_client, _ = listener.accept()
            held.append(with_client)

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            thread.join(10)
            for one in held:
                one.close()


def test_a_tls_handshake_has_a_deadline(connect: Connect, run: Run[Any]) -> None:
    with mute_listener() as port:
        error = refused(run, connect(f"smtps://127.0.0.1:{port}", connect_timeout=0.1))
    assert error.detail == f"timeout after 0.1 s connecting to 127.0.0.1:{port}"
    assert not error.configuration


def test_a_cancelled_open_leaves_no_socket(serve: Serve, connect: Connect, run: Run[Any]) -> None:
    async def cancel(transport: SmtpTransport) -> None:
        task = asyncio.create_task(transport.open())
        await asyncio.get_running_loop().run_in_executor(None, server.wait_for, lambda one: one.connections == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with serve(Rule("ehlo", silent=True)) as server:
        run(cancel(connect(server.url)))
        server.wait_for(lambda one: one.open_connections == 0)
