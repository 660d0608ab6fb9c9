"""Addresses of hosts, as they are written down."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address


def read_ip(text: str) -> IPv4Address | IPv6Address | None:
    """An IPv4 or IPv6 address; None for anything else.

    Without the zone of a link-local one (RFC 4007 §11): it names a cable of somebody else's host, in a text of any
    length and of any characters.
    """
    try:
        found = ip_address(text)
    except ValueError:
        return None
    return IPv6Address(int(found)) if isinstance(found, IPv6Address) else found
