"""A relay of several addresses: one that is dead, however it is, does not stand before the others."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from tests.integration.transports.conftest import Connect, Run
from tests.smtpd import Certificate, Options, SmtpServer, self_signed
from worker.delivery.transports.base import HopUnavailable
from worker.delivery.transports.smtp import SmtpTransport

Named = Callable[..., list[str]]


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> Named:
    """Gives `relay.example` these addresses; returns the names that are looked up."""

    def name(*addresses: str) -> list[str]:
        asked: list[str] = []

        async def getaddrinfo(self: object, host: str, port: int, **_: object) -> list[Any]:
            asked.append(host)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

        for loop in (asyncio.BaseEventLoop, uvloop.Loop):
            monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
        return asked

    return name


@contextmanager
def swallowing(address: str, port: int) -> Iterator[None]:
    """An address where packets go and nothing comes back: its queue is full, and nobody accepts."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((address, port))
        listener.listen(0)
        for _ in range(5):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex((address, port))
        yield


async def opened(transport: SmtpTransport) -> None:
    async with asyncio.timeout(10):
        connection = await transport.open()
    await connection.close()


def test_an_address_that_swallows_packets_leaves_time_for_the_next(
    connect: Connect, run: Run[Any], named: Named
) -> None:
    """The first had the whole timeout: the others were never asked, not at any attempt."""
    asked = named("127.0.0.2", "127.0.0.3", "127.0.0.1")
    with SmtpServer() as server, swallowing("127.0.0.2", server.port):
        run(opened(connect(f"smtp://relay.example:{server.port}", connect_timeout=0.3)))
        assert server.connections == 1
    assert asked == ["relay.example"]


def test_no_more_than_five_addresses_are_tried(connect: Connect, run: Run[Any], named: Named) -> None:
    named(*[f"127.0.0.{number}" for number in range(2, 7)], "127.0.0.1")
    with SmtpServer() as server:
        with pytest.raises(HopUnavailable, match=f"no connection to relay.example:{server.port}: "):
            run(opened(connect(f"smtp://relay.example:{server.port}")))
        assert server.connections == 0


def test_silence_at_all_of_them_ends(connect: Connect, run: Run[Any], named: Named) -> None:
    named("127.0.0.2", "127.0.0.2", "127.0.0.3")
    with ExitStack() as stack:
        port = stack.enter_context(SmtpServer()).port
        for address in ("127.0.0.2", "127.0.0.3"):
            stack.enter_context(swallowing(address, port))
        with pytest.raises(HopUnavailable, match=r"timeout after 0\.2 s connecting to relay\.example"):
            run(opened(connect(f"smtp://relay.example:{port}", connect_timeout=0.2)))


def test_an_address_in_the_setting_is_not_looked_up(connect: Connect, run: Run[Any], named: Named) -> None:
    asked = named("127.0.0.2")
    with SmtpServer() as server:
        run(opened(connect(server.url)))
    assert asked == []


@pytest.mark.parametrize("tls", ["starttls", "tls"])
def test_the_certificate_is_for_the_name_at_whichever_address(
    connect: Connect, run: Run[Any], named: Named, tmp_path: Path, tls: Any
) -> None:
    own = self_signed(tmp_path, "DNS:relay.example")
    named("127.0.0.2", "127.0.0.1")
    with SmtpServer(options=Options(tls=tls, certificate=own)) as server:
        run(opened(connect(f"smtp://relay.example:{server.port}?tls={tls}", ca_file=str(own.cert))))


def test_a_certificate_that_is_not_trusted_is_not_gone_round(
    connect: Connect, run: Run[Any], named: Named, certificate: Certificate, ca_file: str
) -> None:
    """Or an error of the relay's would show as the silence of its last address."""
    named("127.0.0.1", "127.0.0.2")
    with (
        SmtpServer(options=Options(tls="tls", certificate=certificate)) as server,
        pytest.raises(HopUnavailable, match="not trusted: Hostname mismatch") as raised,
    ):
        run(opened(connect(f"smtps://relay.example:{server.port}", ca_file=ca_file)))
    assert raised.value.configuration
