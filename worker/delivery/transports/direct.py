"""Straight to the recipients' mail servers: each domain's MX, with the figures and the TLS that the table asks for."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from itertools import islice

from worker.delivery.throttling.shaping import Shaping
from worker.delivery.transports.base import RELAY, HopUnavailable, NextHop, RouteUnknown, TlsUnavailable
from worker.delivery.transports.choice import Wishes
from worker.delivery.transports.conversation import SmtpConnection
from worker.delivery.transports.hello import introduce
from worker.delivery.transports.mx import MxResolver, Servers
from worker.delivery.transports.relay import Relay, Tls, helo_name, tls_context
from worker.delivery.transports.smtp import connect
from worker.domain.clock import Clock

# Where the table has no figure (KumoMTA's default).
_CONNECTIONS = 10
# Hosts looked up, and addresses tried, for one connection: a domain with twenty dead servers, or with twenty that no
# name server answers for, must not hold it for minutes. As many times the timeout is all that it has.
_MOST_TRIED = 5
_NAME_CHARS = 200
_DIGEST_CHARS = 16


class DirectTransport:
    """Raises `ConfigurationError` where a setting is wrong."""

    name = "mx"
    relay = None

    def __init__(self, wishes: Wishes, shaping: Shaping, clock: Clock) -> None:
        self._wishes = wishes
        self._helo = helo_name(wishes.helo)
        self._groups = {group.name: group for group in shaping.groups}
        self._shaping = shaping
        own = frozenset({self._helo.lower(), socket.gethostname().lower(), "localhost"})
        # what listens on another port than 25 is nobody's mail server, but a test's
        self._mx = MxResolver(
            clock, nameserver=wishes.nameserver, own=own, private=wishes.private, loopback=wishes.port != 25
        )
        self._verified = tls_context(verify=True, ca_file=wishes.ca_file)
        self._unverified = tls_context(verify=False, ca_file="")
        self._hops: dict[tuple[str, Servers], NextHop] = {}

    def known(self, domain: str) -> NextHop | None:
        """See `Transport.known`."""
        servers = self._mx.known(domain)
        return None if servers is None else self._hop(domain, servers)

    async def find(self, domain: str) -> NextHop:
        """See `Transport.find`."""
        return self._hop(domain, await self._mx.servers(domain))

    def _hop(self, domain: str, servers: Servers) -> NextHop:
        """Domains with the same servers share it; those that a table lists have one of their own."""
        key = (self._shaping.group_of(domain), servers)
        hop = self._hops.get(key)
        if hop is None:
            if len(self._hops) > 10_000:
                self._hops.clear()
            hop = self._hops[key] = self._made(key[0], servers)
        return hop

    def _made(self, destination: str, servers: Servers) -> NextHop:
        """A domain that no table lists has the figures of the provider whose servers all of its are, and no more.

        Connections and breaker are those of its set of servers, not of the provider: whoever can write MX records must
        not be able to close gmail.com for everybody.
        """
        hosts = [name for same in servers for name in same]
        figures = self._groups.get(destination or self._shaping.group_of_servers(hosts))
        names = _name(hosts)
        if figures is None:
            return NextHop(names, hosts=servers, connections=_CONNECTIONS)
        connections = figures.connections or _CONNECTIONS
        return NextHop(names, destination, servers, connections, figures.messages_per_connection, figures.tls)

    async def open(self, hop: NextHop = RELAY) -> SmtpConnection:
        """To the best server that answers, in five times the timeout: whoever owns a domain may have each step drag."""
        seconds = _MOST_TRIED * self._wishes.connect_timeout
        try:
            async with asyncio.timeout(seconds):
                return await self._best(hop)
        except TimeoutError:
            raise HopUnavailable(f"timeout after {seconds:g} s connecting to {hop.name}") from None

    async def _best(self, hop: NextHop) -> SmtpConnection:
        """A throttling server is not gone round: the others are the same house."""
        last = HopUnavailable(f"none of {hop.name} has an address that mail may go to")
        tried = 0
        for host in islice(_in_order(hop.hosts), _MOST_TRIED):
            try:
                addresses = await self._mx.addresses(host)
            except RouteUnknown as error:
                last = HopUnavailable(str(error))
                continue
            for address in addresses:
                if tried == _MOST_TRIED:
                    raise last
                tried += 1
                try:
                    return await self._open(hop, host, address)
                except HopUnavailable as error:
                    last = error
                    if error.reply is not None and error.reply.code == 421:
                        raise
        raise last

    async def _open(self, hop: NextHop, host: str, address: str) -> SmtpConnection:
        policy = hop.tls or self._wishes.tls
        context = None if policy == "none" else self._verified if policy == "verify" else self._unverified
        server = Relay(
            host, self._wishes.port, Tls.STARTTLS if context else Tls.NONE, None, self._helo,
            self._wishes.connect_timeout, context, optional=policy == "opportunistic",
        )  # fmt: skip
        try:
            return await self._converse(hop, server, address)
        except TlsUnavailable:
            if policy != "opportunistic":
                raise
        # better in clear than not at all, where the policy allows it (RFC 7435)
        return await self._converse(hop, replace(server, tls=Tls.NONE, context=None), address)

    async def _converse(self, hop: NextHop, server: Relay, address: str) -> SmtpConnection:
        wire = await connect(server, address, server.connect_timeout)
        try:
            offers = await introduce(wire, server)
        except BaseException:
            wire.cut("given up")
            raise
        wishes = self._wishes
        return SmtpConnection(
            wire, offers, timeout=wishes.timeout, done_timeout=wishes.done_timeout,
            limit=hop.messages or wishes.messages_per_connection,
        )  # fmt: skip


def _name(hosts: list[str]) -> str:
    """Of a hop, its breaker and its connections: a long one is cut, and must not be another's for that."""
    names = ",".join(sorted(hosts))
    if len(names) <= _NAME_CHARS:
        return names
    return f"{names[: _NAME_CHARS - _DIGEST_CHARS - 1]}~{sha256(names.encode()).hexdigest()[:_DIGEST_CHARS]}"


def _in_order(servers: Servers) -> Iterator[str]:
    """By preference; those of equal preference in any order, so that they share the load (RFC 5321 §5.1)."""
    for same in servers:
        yield from random.sample(same, len(same))
