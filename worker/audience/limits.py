"""List-bombing: nobody's mailbox is filled by strangers typing its address into our forms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv6Address, IPv6Network
from itertools import takewhile

from sqlalchemy import Connection

from worker.audience import queries
from worker.audience.addresses import Address

_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class SignUpRules:
    """What sign-ups go by, for all publications together."""

    confirm_lifetime: timedelta
    interval: timedelta
    """Least time between two sign-up mails to one address."""
    per_day: int
    """Sign-up mails to one address in 24 hours."""
    per_ip_hour: int
    """Addresses that one IP (see `whose`) may sign up in an hour."""
    group_of: Callable[[str], str]
    """The shaping group of a domain, or ""."""


def why_no_mail(
    connection: Connection, rules: SignUpRules, address: Address, seen_ip: str, subscriber_id: int, now: datetime
) -> str:
    """Which limit forbids a sign-up mail now, in words; empty where none does.

    Called under the address' lock, so that of two sign-ups at once the second sees the first one's mail.
    """
    count, last = queries.sign_up_mails(connection, address.address, address.email, now - _DAY)
    if count >= rules.per_day:
        return f"no mail: this address had {count} sign-up mails within 24 hours; allowed: {rules.per_day}"
    if last is not None and last > now - rules.interval:
        seconds = round(rules.interval.total_seconds())
        return f"no mail: this address had a sign-up mail within the last {seconds} seconds"
    if seen_ip:
        others = _others_from(connection, seen_ip, now - _HOUR, subscriber_id, rules.per_ip_hour)
        if others >= rules.per_ip_hour:
            return f"no mail: {others} addresses were signed up from this IP within an hour"
    return ""


def whose(ip: str) -> str:
    """Who is behind an address, as far as addresses tell: an IPv4 address itself, the /64 network of an IPv6 one.

    A site gets a /64 at least and its hosts choose the rest of their addresses themselves (RFC 6177 §2, RFC 8981):
    counted one by one, a single machine has 2^64 of them.
    """
    found = _ipv6(ip)
    return ip if found is None else str(IPv6Network((int(found) >> 64 << 64, 64)))


def _ipv6(ip: str) -> IPv6Address | None:
    try:
        return IPv6Address(ip)
    except ValueError:
        return None


def _others_from(connection: Connection, ip: str, since: datetime, subscriber_id: int, limit: int) -> int:
    """How many other subscribers were asked for from there since then; counting stops at `limit`."""
    if _ipv6(ip) is None:
        return queries.others_from_ip(connection, ip, since, subscriber_id, limit)
    network = whose(ip)
    others: set[int] = set()
    with queries.requests_from(connection, _common_prefix(network), since, subscriber_id) as found:
        for row in found:
            if whose(row.ip) == network:
                others.add(row.subscriber_id)
            if len(others) >= limit:
                break
    return len(others)


def _common_prefix(network: str) -> str:
    """What all addresses of a /64 begin with as text, however the zeros in them are shortened (RFC 5952 §4.2)."""
    groups = IPv6Network(network).network_address.exploded.split(":")[:4]
    texts = [f"{int(group, 16):x}:" for group in groups]
    return "".join(takewhile(lambda text: text != "0:", texts))
