"""The SMTP transport: an asyncio client of our own, since this is the path that every mail takes."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from dataclasses import dataclass

from worker.delivery.transports.base import RELAY, HopUnavailable, NextHop, TlsUnavailable
from worker.delivery.transports.conversation import SmtpConnection
from worker.delivery.transports.hello import introduce, tls_failure
from worker.delivery.transports.relay import Relay, Tls, read_relay
from worker.delivery.transports.wire import Wire

_MOST_ADDRESSES = 5
"""Of a relay, tried for one connection."""
_LEAST_SECONDS = 4.0
"""For each of several: its first packet may be lost, and is sent again after 1 and 3 s."""


@dataclass(frozen=True, slots=True)
class SmtpTransport:
    """A relay, ready to be connected to.

    `timeout` is in seconds and holds for each reply after the login, `done_timeout` (by default the same) for the
    answer to the message; it counts from the body's first byte, so a server that stops reading is noticed too.
    """

    server: Relay
    timeout: float
    messages_per_connection: int
    done_timeout: float | None = None
    connections: int = 0
    """From all workers together; 0: as many as they like."""
    name: str = "smtp"

    @property
    def relay(self) -> NextHop:
        return NextHop(RELAY.name, connections=self.connections) if self.connections else RELAY

    def known(self, domain: str) -> NextHop:
        """All of them go to the relay."""
        return self.relay

    async def find(self, domain: str) -> NextHop:
        """See `known`."""
        return self.relay

    async def open(self, hop: NextHop = RELAY) -> SmtpConnection:
        """See `Transport.open`."""
        wire = await _reach(self.server)
        try:
            offers = await introduce(wire, self.server)
        except BaseException:
            wire.cut("given up")
            raise
        return SmtpConnection(
            wire, offers, timeout=self.timeout, done_timeout=self.done_timeout, limit=self.messages_per_connection
        )


async def _reach(relay: Relay) -> Wire:
    """A line to the first of its addresses that answers. Raises `HopUnavailable`.

    They share the timeout: one that swallows packets would use all of it, and the others would never be asked.
    Where its share is less than `_LEAST_SECONDS`, each has those (the whole timeout, if that is less).
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + relay.connect_timeout
    addresses = await _addresses(relay)
    last = HopUnavailable(f"no connection to {relay}: it has no address")
    for left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
        share = (until - loop.time()) / left
        try:
            return await connect(relay, address, max(share, min(_LEAST_SECONDS, relay.connect_timeout)))
        except TlsUnavailable:
            raise  # it answered: what it showed goes for its name, wherever that leads
        except HopUnavailable as error:
            last = error
    raise last


async def _addresses(relay: Relay) -> list[str]:
    """As the system orders them. An address itself is not asked for: that would cost a thread's turn."""
    try:
        return [str(ipaddress.ip_address(relay.host))]
    except ValueError:
        pass
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(relay.connect_timeout):
            found = await loop.getaddrinfo(relay.host, relay.port, type=socket.SOCK_STREAM)
    except TimeoutError:
        raise HopUnavailable(f"timeout after {relay.connect_timeout:g} s looking up {relay.host}") from None
    except OSError as error:
        raise HopUnavailable(f"no connection to {relay}: {error.strerror or error}") from None
    return list(dict.fromkeys(_address(*one[4]) for one in found))[:_MOST_ADDRESSES]


def _address(host: str, port: int, flow: int = 0, scope: int = 0) -> str:
    """With the link that an IPv6 address of one link alone (`fe80::…`) is on."""
    return f"{host}%{scope}" if scope else host


async def connect(server: Relay, address: str, seconds: float) -> Wire:
    """A line to that address, by implicit TLS where the server is so. Raises `HopUnavailable`."""
    loop = asyncio.get_running_loop()
    implicit = server.tls is Tls.TLS
    try:
        async with asyncio.timeout(seconds):
            _, wire = await loop.create_connection(
                lambda: Wire(loop), address, server.port, ssl=server.context if implicit else None,
                server_hostname=server.host if implicit else None,
            )
    except TimeoutError:
        raise HopUnavailable(f"timeout after {round(seconds, 2):g} s connecting to {server}") from None
    except ssl.SSLError as error:
        raise tls_failure(error) from None
    except OSError as error:
        raise HopUnavailable(f"no connection to {server}: {error.strerror or error}") from None
    return wire


def smtp_transport(
    url: str,
    *,
    helo: str,
    connect_timeout: float,
    timeout: float,
    messages_per_connection: int,
    verify: bool,
    ca_file: str,
    done_timeout: float | None = None,
    connections: int = 0,
) -> SmtpTransport:
    """From `PRESSRUN_SMTP_URL` and its neighbours; `helo` empty is this host's name, `ca_file` empty is none.

    Raises `ConfigurationError` naming the key, what was found (never the password) and what is allowed.
    """
    relay = read_relay(url, helo=helo, connect_timeout=connect_timeout, verify=verify, ca_file=ca_file)
    return SmtpTransport(relay, timeout, messages_per_connection, done_timeout, connections)
