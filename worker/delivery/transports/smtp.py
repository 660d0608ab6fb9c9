"""The SMTP transport: an asyncio client of our own, since this is the path that every mail takes."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass

from worker.delivery.transports.base import RELAY, HopUnavailable, NextHop
from worker.delivery.transports.conversation import SmtpConnection
from worker.delivery.transports.hello import introduce, tls_failure
from worker.delivery.transports.relay import Relay, Tls, read_relay
from worker.delivery.transports.wire import Wire


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
        wire = await connect(self.server, self.server.host)
        try:
            offers = await introduce(wire, self.server)
        except BaseException:
            wire.cut("given up")
            raise
        return SmtpConnection(
            wire, offers, timeout=self.timeout, done_timeout=self.done_timeout, limit=self.messages_per_connection
        )


async def connect(server: Relay, address: str) -> Wire:
    """A line to that address, by implicit TLS where the server is so. Raises `HopUnavailable`."""
    loop = asyncio.get_running_loop()
    implicit = server.tls is Tls.TLS
    try:
        async with asyncio.timeout(server.connect_timeout):
            _, wire = await loop.create_connection(
                lambda: Wire(loop), address, server.port, ssl=server.context if implicit else None,
                server_hostname=server.host if implicit else None,
            )
    except TimeoutError:
        raise HopUnavailable(f"timeout after {server.connect_timeout:g} s connecting to {server}") from None
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
