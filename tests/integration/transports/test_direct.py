"""Straight to the recipients' servers: preference, fallback, TLS policies, over real sockets and a real name server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.nameserver import NameServer
from tests.smtpd import Certificate, Options, Rule, SmtpServer, self_signed
from worker.delivery.throttling import Destination, Shaping
from worker.delivery.transports import mx as resolving
from worker.delivery.transports.base import HopUnavailable, NextHop
from worker.delivery.transports.choice import TlsPolicy, Wishes, is_direct
from worker.delivery.transports.direct import DirectTransport
from worker.domain.clock import FakeClock
from worker.domain.errors import ConfigurationError
from worker.domain.message import Envelope, Message
from worker.domain.replies import Outcome

BODY = Message(b"Message-ID: <1@daily.example>\r\nSubject: hi\r\n\r\nbody\r\n")


def transport(
    names: NameServer, port: int, *groups: Destination, tls: TlsPolicy = "opportunistic", ca_file: str = "",
    seconds: float = 2.0,
) -> DirectTransport:  # fmt: skip
    wishes = Wishes("us.example", port, tls, ca_file, names.address, False, seconds, 2.0, 2.0, 100)
    return DirectTransport(wishes, Shaping(groups), FakeClock())


def send(one: DirectTransport, domain: str) -> Outcome:
    async def go() -> Outcome:
        connection = await one.open(await one.find(domain))
        try:
            exchange = await connection.send(Envelope("b@daily.example", f"r@{domain}"), BODY, lambda: None)
        finally:
            await connection.close()
        return exchange.judgement.outcome

    return asyncio.run(go())


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return self_signed(tmp_path, "DNS:mx.example")


@pytest.fixture
def server() -> Iterator[SmtpServer]:
    with SmtpServer() as one:
        yield one


def mx(*hosts: str) -> dict[str, list[str]]:
    return {"MX": [f"{10 * number} {host}." for number, host in enumerate(hosts, 1)]}


HERE = {"A": ["127.0.0.1"]}


def test_a_dead_server_and_a_dead_address_are_gone_round(server: SmtpServer) -> None:
    """The best has no address, the next one address where nobody listens and one where somebody does."""
    zone = {
        "a.example": mx("none.example", "dead.example", "mx.example"),
        "none.example": {}, "dead.example": {"AAAA": ["::1"]}, "mx.example": {"AAAA": ["::1"], **HERE},
    }  # fmt: skip
    with NameServer(zone) as names:
        assert send(transport(names, server.port), "a.example") is Outcome.ACCEPTED
    assert [one.rcpt for one in server.messages] == ["r@a.example"]


def test_no_more_addresses_than_five_are_tried(server: SmtpServer) -> None:
    zone = {"a.example": mx("dead.example", "mx.example"), "mx.example": HERE,
            "dead.example": {"A": [f"127.0.0.{n}" for n in range(2, 8)]}}  # fmt: skip
    with NameServer(zone) as names, pytest.raises(HopUnavailable, match="no connection"):
        send(transport(names, server.port), "a.example")
    assert server.connections == 0


def test_no_more_hosts_than_five_are_looked_up(server: SmtpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that no name server answers for have no address to be counted by, and each takes 10 s."""
    monkeypatch.setattr(resolving, "ANSWER_SECONDS", 0.1)
    silent = tuple(f"silent{number}.example" for number in range(6))
    zone = {"a.example": mx(*silent, "mx.example"), "mx.example": HERE}
    with NameServer(zone, silent=silent) as names:
        with pytest.raises(HopUnavailable, match="DNS does not say where mail for silent4"):
            send(transport(names, server.port), "a.example")
        assert {name for name, kind in names.asked if kind == "A"} == {*silent[:5]}


def test_who_drags_each_step_is_given_up_and_hung_up_on() -> None:
    """Within each deadline, at each of five servers: together they would hold a connection for minutes."""
    hosts = [f"mx{number}.example" for number in range(5)]
    zone = {"a.example": mx(*hosts), **dict.fromkeys(hosts, HERE)}
    slow = Rule("connect", delay=0.3), Rule("ehlo", delay=0.3, reply="451 4.3.0 later")

    async def go(one: DirectTransport, server: SmtpServer) -> None:
        hop = await one.find("a.example")
        with pytest.raises(HopUnavailable, match=r"timeout after 2\.5 s connecting to mx0\.example,mx1"):
            await one.open(hop)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, server.wait_for, lambda one: one.open_connections == 0)

    with SmtpServer(slow) as server, NameServer(zone) as names:
        asyncio.run(go(transport(names, server.port, seconds=0.5), server))
        assert server.connections > 1


def test_a_cancelled_open_leaves_no_socket() -> None:
    zone = {"a.example": mx("mx.example"), "mx.example": HERE}

    async def go(one: DirectTransport, server: SmtpServer) -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(one.open(await one.find("a.example")))
        await loop.run_in_executor(None, server.wait_for, lambda one: one.connections == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await loop.run_in_executor(None, server.wait_for, lambda one: one.open_connections == 0)

    with SmtpServer([Rule("ehlo", silent=True)]) as server, NameServer(zone) as names:
        asyncio.run(go(transport(names, server.port), server))


def test_what_throttles_at_the_door_is_not_gone_round() -> None:
    with SmtpServer([Rule("connect", reply="421 4.7.0 try again later")]) as server:
        zone = {"a.example": mx("mx.example", "second.example"), "mx.example": HERE, "second.example": HERE}
        with NameServer(zone) as names, pytest.raises(HopUnavailable) as refused:
            send(transport(names, server.port), "a.example")
        assert server.connections == 1
    assert refused.value.reply is not None
    assert refused.value.reply.code == 421


def test_what_refuses_at_the_door_otherwise_is() -> None:
    with SmtpServer([Rule("connect", reply="554 no service here", times=1)]) as server:
        zone = {"a.example": mx("mx.example", "second.example"), "mx.example": HERE, "second.example": HERE}
        with NameServer(zone) as names:
            assert send(transport(names, server.port), "a.example") is Outcome.ACCEPTED
        assert server.connections == 2


def test_domains_of_the_same_servers_share_a_hop_and_a_group_has_its_figures() -> None:
    group = Destination("big", ("big.example",), None, 3, 20, "required")
    zone = {"a.example": mx("mx.example"), "b.example": mx("mx.example"), "big.example": mx("mx.example")}
    with NameServer(zone) as names:
        one = transport(names, 25, group)

        async def hops() -> list[NextHop]:
            return [await one.find(domain) for domain in ("a.example", "b.example", "big.example")]

        a, b, big = asyncio.run(hops())
        assert a is b is one.known("a.example")
    assert a.gate == "mx:mx.example"
    assert (big.gate, big.connections, big.messages, big.tls) == ("destination:big", 3, 20, "required")


def test_a_long_list_of_servers_has_a_name_that_is_no_others() -> None:
    """What is cut off may be all that two of them differ in: a stranger's could close everybody's."""
    servers = [f"alt{number}.a-long-name-for-a-server.google.example" for number in range(9)]
    zone = {"a.example": mx(*servers), "b.example": mx(*servers, "zz.b.example"), "c.example": mx(*servers)}
    with NameServer(zone) as names:
        one = transport(names, 25)

        async def hops() -> list[NextHop]:
            return [await one.find(name) for name in zone]

        a, b, c = asyncio.run(hops())
    assert a.gate == c.gate != b.gate
    assert len(a.name) == len(b.name) == 200


def test_a_domain_of_its_own_at_a_provider_has_the_providers_figures() -> None:
    """And no part in its connections and its breaker: anybody may have records that name a provider's servers."""
    group = Destination("big", ("big.example",), None, 3, 20, "required", mx=("servers.big.example",))
    zone = {"a.example": mx("in.servers.big.example"), "big.example": mx("in.servers.big.example"),
            "half.example": {"MX": ["10 in.servers.big.example.", "10 mx.half.example."]},
            "behind.example": mx("in.servers.big.example", "mx.behind.example")}  # fmt: skip
    with NameServer(zone) as names:
        one = transport(names, 25, group)

        async def hops() -> list[NextHop]:
            return [await one.find(name) for name in ("a.example", "big.example", "half.example", "behind.example")]

        own, big, half, behind = asyncio.run(hops())
    assert (own.gate, own.connections, own.messages, own.tls) == ("mx:in.servers.big.example", 3, 20, "required")
    assert (big.gate, big.connections) == ("destination:big", 3)
    # a server of its own beside theirs, or behind them, is none of theirs
    assert {(one.connections, one.messages, one.tls) for one in (half, behind)} == {(10, 0, "")}


@pytest.mark.parametrize(
    ("policy", "offers", "trusted", "secure"),
    [
        ("opportunistic", True, False, True),
        ("opportunistic", False, False, False),
        ("none", True, False, False),
        ("required", True, False, True),
        ("required", False, False, None),
        ("verify", True, True, True),
        ("verify", True, False, None),
        ("verify", False, True, None),
    ],
)
def test_tls_policies(
    certificate: Certificate, policy: TlsPolicy, offers: bool, trusted: bool, secure: bool | None
) -> None:
    """`secure` None: it must not go at all."""
    options = Options(tls="starttls" if offers else "none", certificate=certificate)
    with ExitStack() as stack:
        server = stack.enter_context(SmtpServer(options=options))
        names = stack.enter_context(NameServer({"a.example": mx("mx.example"), "mx.example": HERE}))
        one = transport(names, server.port, tls=policy, ca_file=str(certificate.cert) if trusted else "")
        if secure is None:
            with pytest.raises(HopUnavailable):
                send(one, "a.example")
            assert server.messages == []
            return
        assert send(one, "a.example") is Outcome.ACCEPTED
        assert ("STARTTLS" in server.commands[0]) is secure


def test_a_certificate_for_another_name_is_not_trusted(tmp_path: Path) -> None:
    wrong = self_signed(tmp_path, "DNS:other.example")
    zone = {"a.example": mx("mx.example"), "mx.example": HERE}
    with SmtpServer(options=Options(tls="starttls", certificate=wrong)) as server, NameServer(zone) as names:
        with pytest.raises(HopUnavailable, match="not trusted"):
            send(transport(names, server.port, tls="verify", ca_file=str(wrong.cert)), "a.example")
        assert server.messages == []


def test_opportunistic_goes_on_in_clear_where_tls_is_broken(certificate: Certificate) -> None:
    options = Options(tls="starttls", certificate=certificate)
    with SmtpServer([Rule("starttls", reply="454 4.7.0 TLS not available")], options) as server:
        zone = {"a.example": mx("mx.example"), "mx.example": HERE}
        with NameServer(zone) as names:
            assert send(transport(names, server.port), "a.example") is Outcome.ACCEPTED
        assert server.connections == 2


def test_the_url_stands_alone() -> None:
    assert is_direct("mx://")
    assert not is_direct("smtp://127.0.0.1")
    with pytest.raises(ConfigurationError, match="PRESSRUN_SMTP_MX_"):
        is_direct("mx://gmail.com:25")
