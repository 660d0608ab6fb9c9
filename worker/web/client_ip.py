"""Whose request it is, where proxies stand between."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from starlette.requests import HTTPConnection

from worker.domain.network import read_ip

_Address = IPv4Address | IPv6Address


def client_ip(request: HTTPConnection, trusted: Sequence[str]) -> str:
    """The rightmost address of `X-Forwarded-For` that is no trusted proxy of ours, else the peer's.

    `trusted` are networks; the header counts only where the peer itself is in one of them, since anybody can
    send it. What stands left of the first stranger is hearsay. Empty for a peer without an address.
    """
    peer = _parse(request.client.host) if request.client else None
    if peer is None:
        return ""
    networks = _networks(tuple(trusted))
    found = peer
    hops = ",".join(request.headers.getlist("x-forwarded-for")).split(",")
    for hop in reversed(hops):
        address = _parse(hop)
        if not _within(found, networks) or address is None:
            break
        found = address
    return str(found)


def _within(address: _Address, networks: Sequence[IPv4Network | IPv6Network]) -> bool:
    return any(address in network for network in networks)


@lru_cache(maxsize=8)
def _networks(trusted: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(one, strict=False) for one in trusted)


def _parse(text: str) -> _Address | None:
    """An address, with or without a port; `::ffff:192.0.2.1` is the IPv4 address that it is."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    address = read_ip(text)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
