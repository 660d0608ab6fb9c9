"""Whose request it is, where proxies stand between."""

from __future__ import annotations

import pytest
from starlette.requests import HTTPConnection

from worker.web.client_ip import client_ip

PROXIES = ["10.0.0.0/8", "192.0.2.7", "fd00::/8"]


def request(peer: str | None, *forwarded: str) -> HTTPConnection:
    headers = [(b"x-forwarded-for", one.encode("latin-1")) for one in forwarded]
    client = None if peer is None else (peer, 1234)
    return HTTPConnection({"type": "http", "headers": headers, "client": client})


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("203.0.113.5", [], "203.0.113.5"),
        # anybody can send the header; only a proxy of ours is believed
        ("203.0.113.5", ["198.51.100.1"], "203.0.113.5"),
        ("10.1.2.3", ["198.51.100.1"], "198.51.100.1"),
        ("10.1.2.3", [], "10.1.2.3"),
        # what the client itself put in front is hearsay
        ("10.1.2.3", ["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
        ("10.1.2.3", ["1.1.1.1, 198.51.100.1, 192.0.2.7"], "198.51.100.1"),
        ("10.1.2.3", ["198.51.100.1", "10.9.9.9"], "198.51.100.1"),
        ("10.1.2.3", ["10.9.9.9, 10.8.8.8"], "10.9.9.9"),
        ("10.1.2.3", ["198.51.100.1, nonsense"], "10.1.2.3"),
        ("10.1.2.3", ["nonsense, 10.9.9.9"], "10.9.9.9"),
        ("10.1.2.3", [""], "10.1.2.3"),
        ("10.1.2.3", ["198.51.100.1:4711"], "198.51.100.1"),
        ("10.1.2.3", ["[2001:db8::1]:4711"], "2001:db8::1"),
        ("10.1.2.3", ["2001:DB8:0::1"], "2001:db8::1"),
        ("fd00::1", ["2001:db8::1"], "2001:db8::1"),
        ("::ffff:10.1.2.3", ["::ffff:198.51.100.1"], "198.51.100.1"),
        (None, ["198.51.100.1"], ""),
        ("unix", ["198.51.100.1"], ""),
    ],
)
def test_the_rightmost_stranger(peer: str | None, forwarded: list[str], expected: str) -> None:
    assert client_ip(request(peer, *forwarded), PROXIES) == expected


def test_without_trusted_proxies_the_peer_it_is() -> None:
    assert client_ip(request("10.1.2.3", "198.51.100.1"), []) == "10.1.2.3"
