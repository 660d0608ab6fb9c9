"""Which servers take a domain's mail: MX records (RFC 5321 §5.1), looked up without holding anybody up, and kept."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import chain, groupby, zip_longest
from typing import Any

import dns.asyncresolver
import dns.exception
import dns.rdatatype
import dns.resolver

from worker.delivery.transports.base import NoRoute, RouteUnknown
from worker.delivery.transports.choice import read_nameserver
from worker.domain.clock import Clock
from worker.domain.replies import Reply, Stage

Servers = tuple[tuple[str, ...], ...]
"""Names by preference, the best first; those of equal preference together."""

# What a record says of its own life, within reason: a campaign must not ask for each mail, nor send for days to where
# a domain was.
SHORTEST_SECONDS = 60.0
LONGEST_SECONDS = 3600.0
# What is not there may come, and what does not answer may answer soon.
NEGATIVE_SECONDS = 300.0
UNKNOWN_SECONDS = 30.0
# For one question, over all name servers.
ANSWER_SECONDS = 5.0
_KEPT = 20_000


@dataclass(frozen=True, slots=True)
class _Kept:
    value: Any
    until: float


class MxResolver:
    """`nameserver`: `192.0.2.1` or `127.0.0.1:5353`; empty is this machine's. `own`: names that are this machine.

    `private`: whether an address of a private network may be a mail server. Anybody may sign up with a domain whose
    records name one, and would have us talk to what is meant for nobody outside. `loopback`: the same of this machine;
    it never is one, but in tests.
    """

    def __init__(
        self, clock: Clock, *, nameserver: str, own: frozenset[str], private: bool, loopback: bool
    ) -> None:
        self._clock = clock
        self._nameserver = read_nameserver(nameserver)
        self._own = own
        self._private = private
        self._loopback = loopback
        self._kept: OrderedDict[tuple[str, str], _Kept] = OrderedDict()
        self._resolver: dns.asyncresolver.Resolver | None = None

    def known(self, domain: str) -> Servers | None:
        """What was found lately, if anything good was."""
        kept = self._kept.get(("MX", domain))
        if kept is None or kept.until <= self._clock.ticks() or isinstance(kept.value, Exception):
            return None
        found: Servers = kept.value
        return found

    async def servers(self, domain: str) -> Servers:
        """Raises `NoRoute` where there are none, `RouteUnknown` where nobody says."""
        found: Servers = await self._remembered("MX", domain, self._servers)
        return found

    async def addresses(self, host: str) -> tuple[str, ...]:
        """IPv6 and IPv4 in turn; none where it has none. Raises `RouteUnknown`."""
        found: tuple[str, ...] = await self._remembered("A", host, self._addresses)
        return found

    async def _remembered(self, kind: str, name: str, ask: Callable[[str], Awaitable[tuple[Any, float]]]) -> Any:
        kept = self._kept.get((kind, name))
        if kept is None or kept.until <= self._clock.ticks():
            try:
                value, seconds = await ask(name)
            except NoRoute as error:
                value, seconds = error, NEGATIVE_SECONDS
            except RouteUnknown as error:
                value, seconds = error, UNKNOWN_SECONDS
            kept = self._kept[(kind, name)] = _Kept(value, self._clock.ticks() + seconds)
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        if isinstance(kept.value, Exception):
            raise kept.value
        return kept.value

    async def _servers(self, domain: str) -> tuple[Servers, float]:
        if domain.startswith("["):
            # an address literal names a machine, not a domain whose owner asked for mail
            raise NoRoute(Stage.RCPT, Reply(550, "5.1.3", f"{domain} is an address literal; mail goes to domains"))
        records, seconds = await self._ask(domain, "MX")
        if records is None:
            raise NoRoute(Stage.MAIL, Reply(550, "5.1.2", f"there is no domain {domain}"))
        found = sorted((record.preference, record.exchange.to_text(omit_final_dot=True).lower()) for record in records)
        if [name for _, name in found] in ([""], ["."]):
            raise NoRoute(Stage.RCPT, Reply(556, "5.1.10", f"{domain} takes no mail (null MX, RFC 7505)"))
        if not found:
            # its own address is its server (RFC 5321 §5.1)
            _, lived = await self.addresses_of(domain)
            return ((domain,),), min(seconds, lived)
        return self._without_us(domain, found), seconds

    async def addresses_of(self, domain: str) -> tuple[tuple[str, ...], float]:
        """Of a domain without MX. Raises `NoRoute` where it has none either."""
        found, seconds = await self._addresses(domain)
        if not found:
            raise NoRoute(Stage.MAIL, Reply(550, "5.4.4", f"{domain} has neither MX nor address"))
        return found, seconds

    def _without_us(self, domain: str, found: list[tuple[int, str]]) -> Servers:
        """We are one of them: all that are not better would send it back to us (RFC 5321 §5.1)."""
        ours = min((preference for preference, name in found if name in self._own), default=None)
        if ours is not None:
            found = [(preference, name) for preference, name in found if preference < ours]
        if not found:
            raise NoRoute(Stage.MAIL, Reply(554, "5.4.6", f"the best mail server of {domain} is this machine"))
        return tuple(
            tuple(dict.fromkeys(name for _, name in same)) for _, same in groupby(found, key=lambda one: one[0])
        )

    async def _addresses(self, host: str) -> tuple[tuple[str, ...], float]:
        # asked each by itself: servers exist that answer AAAA with an error and A as they should (RFC 4074 §4)
        both, failure, lived = [], None, LONGEST_SECONDS
        for kind in ("AAAA", "A"):
            try:
                records, seconds = await self._ask(host, kind)
                both.append([record.address for record in records or ()])
            except RouteUnknown as error:
                failure, seconds = error, SHORTEST_SECONDS
            lived = min(lived, seconds)
        turns = chain.from_iterable(zip_longest(*both))
        found = tuple(one for one in turns if one is not None and self._may_be_one(one))
        if failure is not None and not found:
            raise failure
        return found, lived

    async def _ask(self, name: str, kind: str) -> tuple[list[Any] | None, float]:
        """The records, None where the name does not exist; and how long that holds."""
        try:
            answer = await self._asker().resolve(f"{name}.", kind, raise_on_no_answer=False, search=False)
        except dns.resolver.NXDOMAIN:
            return None, NEGATIVE_SECONDS
        except (dns.exception.DNSException, OSError, UnicodeError) as error:
            raise RouteUnknown(f"DNS does not say where mail for {name} goes: {type(error).__name__}") from None
        if answer.rrset is None:
            return [], NEGATIVE_SECONDS
        return list(answer.rrset), min(LONGEST_SECONDS, max(SHORTEST_SECONDS, float(answer.rrset.ttl)))

    def _may_be_one(self, address: str) -> bool:
        """RFC 6890: what is not for this machine, nor for a private network, nor for many at once."""
        found = ipaddress.ip_address(address)
        if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
            # `::ffff:127.0.0.1` is this machine, too
            found = found.ipv4_mapped
        if found.is_loopback:
            return self._loopback
        if found.is_unspecified or found.is_multicast or found.is_link_local:
            return False
        return self._private or found.is_global

    def _asker(self) -> dns.asyncresolver.Resolver:
        if self._resolver is None:
            self._resolver = dns.asyncresolver.Resolver(configure=self._nameserver is None)
            self._resolver.lifetime = ANSWER_SECONDS
            if self._nameserver is not None:
                address, self._resolver.port = self._nameserver
                self._resolver.nameservers = [address]
        return self._resolver


