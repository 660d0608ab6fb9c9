"""Which servers take a domain's mail, as a real name server says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from tests.nameserver import NameServer, Zone
from worker.delivery.transports import mx
from worker.delivery.transports.base import NoRoute, RouteUnknown
from worker.delivery.transports.mx import LONGEST_SECONDS, NEGATIVE_SECONDS, SHORTEST_SECONDS, MxResolver
from worker.domain.clock import FakeClock
from worker.domain.errors import ConfigurationError
from worker.domain.replies import Outcome, Stage, judge

T = TypeVar("T")
OWN = frozenset({"us.example"})


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mx, "ANSWER_SECONDS", 0.3)


def resolver(
    server: NameServer, clock: FakeClock, *, private: bool = True, loopback: bool = True
) -> MxResolver:
    return MxResolver(clock, nameserver=server.address, own=OWN, private=private, loopback=loopback)


def run(ask: Callable[[], Awaitable[T]]) -> T:
    async def go() -> T:
        return await ask()

    return asyncio.run(go())


def test_the_best_first_and_equals_together(clock: FakeClock) -> None:
    zone = {"a.example": {"MX": ["20 far.example.", "10 B.example.", "10 c.example."]}}
    with NameServer(zone) as server:
        found = run(lambda: resolver(server, clock).servers("a.example"))
    assert found == (("b.example", "c.example"), ("far.example",))


def test_without_mx_its_own_address_is_its_server(clock: FakeClock) -> None:
    with NameServer({"a.example": {"A": ["127.0.0.1"]}}) as server:
        assert run(lambda: resolver(server, clock).servers("a.example")) == (("a.example",),)


@pytest.mark.parametrize(
    ("domain", "records", "enhanced", "suppresses"),
    [
        ("null.example", {"MX": ["0 ."]}, "5.1.10", True),
        ("nothing.example", {}, "5.4.4", False),
        ("loop.example", {"MX": ["10 us.example.", "20 other.example."]}, "5.4.6", False),
        ("gone.example", None, "5.1.2", False),
        ("[127.0.0.1]", None, "5.1.3", True),
    ],
)
def test_where_nobody_takes_mail_it_bounces(
    clock: FakeClock, domain: str, records: dict[str, list[str]] | None, enhanced: str, suppresses: bool
) -> None:
    with NameServer({} if records is None else {domain: records}) as server, pytest.raises(NoRoute) as found:
        run(lambda: resolver(server, clock).servers(domain))
    judgement = judge(found.value.reply, found.value.stage)
    assert found.value.reply.enhanced == enhanced
    assert (judgement.outcome, judgement.suppress) == (Outcome.RECIPIENT, suppresses)
    assert found.value.stage in (Stage.MAIL, Stage.RCPT)


def test_we_and_those_no_better_than_us_are_left_out(clock: FakeClock) -> None:
    zone = {"a.example": {"MX": ["5 best.example.", "10 us.example.", "10 equal.example.", "20 worse.example."]}}
    with NameServer(zone) as server:
        assert run(lambda: resolver(server, clock).servers("a.example")) == (("best.example",),)


@pytest.mark.parametrize("how", ["silent", "failing"])
def test_a_name_server_that_does_not_say_bounces_nothing(clock: FakeClock, how: str) -> None:
    with NameServer({}, **{how: ("a.example",)}) as server, pytest.raises(RouteUnknown, match=r"a\.example"):
        run(lambda: resolver(server, clock).servers("a.example"))


def test_addresses_of_both_kinds_in_turn(clock: FakeClock) -> None:
    zone = {"mx.example": {"AAAA": ["2001:db8::1"], "A": ["192.0.2.1", "192.0.2.2"]}}
    with NameServer(zone) as server:
        found = run(lambda: resolver(server, clock).addresses("mx.example"))
    assert found[0] == "2001:db8::1"
    assert sorted(found[1:]) == ["192.0.2.1", "192.0.2.2"]


@pytest.mark.parametrize("how", ["silent", "failing"])
def test_one_kind_of_address_that_cannot_be_had_does_not_hide_the_other(clock: FakeClock, how: str) -> None:
    """RFC 4074 §4: some servers fail to answer AAAA where there is no such record."""
    zone: Zone = {"mx.example": {"A": ["192.0.2.1"]}, "none.example": {"AAAA": []}}
    with NameServer(zone, **{how: ("mx.example AAAA", "none.example A")}) as server:
        assert run(lambda: resolver(server, clock).addresses("mx.example")) == ("192.0.2.1",)
        with pytest.raises(RouteUnknown, match=r"none\.example"):
            run(lambda: resolver(server, clock).addresses("none.example"))


def test_this_machine_is_nobodys_mail_server(clock: FakeClock) -> None:
    zone = {"mx.example": {"AAAA": ["::1", "::ffff:127.0.0.1"], "A": ["127.0.0.1", "0.0.0.0", "192.0.2.2"]}}
    with NameServer(zone) as server:
        assert run(lambda: resolver(server, clock, loopback=False).addresses("mx.example")) == ("192.0.2.2",)


def test_a_private_network_has_no_mail_server_for_whoever_signs_up(clock: FakeClock) -> None:
    """A domain's owner says where its mail goes: not to what listens inside."""
    inside = ["10.0.0.1", "172.16.5.4", "192.168.1.1", "100.64.0.1", "169.254.169.254", "192.0.2.1"]
    zone = {"mx.example": {"AAAA": ["fd00::1", "::ffff:10.0.0.1", "fe80::1", "2606:4700::1111"],
                           "A": [*inside, "9.9.9.9"]}}  # fmt: skip
    with NameServer(zone) as server:
        public = run(lambda: resolver(server, clock, private=False).addresses("mx.example"))
        private = run(lambda: resolver(server, clock).addresses("mx.example"))
    assert sorted(public) == ["2606:4700::1111", "9.9.9.9"]
    assert set(private) == {*public, *inside, "fd00::1", "::ffff:10.0.0.1"} - {"169.254.169.254"}


def test_answers_are_kept_within_bounds_and_bad_ones_shorter(clock: FakeClock) -> None:
    with NameServer({"a.example": {"MX": ["10 mx.example."]}}) as server:
        one = resolver(server, clock)

        async def story() -> None:
            for _ in range(3):
                await one.servers("a.example")
            assert server.asked["a.example", "MX"] == 1
            assert one.known("a.example") == (("mx.example",),)
            clock.advance(seconds=121)
            assert one.known("a.example") is None
            await one.servers("a.example")
            assert server.asked["a.example", "MX"] == 2
            for _ in range(3):
                with pytest.raises(NoRoute):
                    await one.servers("gone.example")
            assert server.asked["gone.example", "MX"] == 1
            clock.advance(seconds=NEGATIVE_SECONDS + 1)
            with pytest.raises(NoRoute):
                await one.servers("gone.example")
            assert server.asked["gone.example", "MX"] == 2

        asyncio.run(story())
    assert SHORTEST_SECONDS <= 120 <= LONGEST_SECONDS


@pytest.mark.parametrize("text", ["dns.example", "127.0.0.1:0", "127.0.0.1:port", "[::1]:99999", "1.2.3:53"])
def test_a_name_server_that_is_none(clock: FakeClock, text: str) -> None:
    with pytest.raises(ConfigurationError, match="PRESSRUN_SMTP_MX_NAMESERVER"):
        MxResolver(clock, nameserver=text, own=OWN, private=False, loopback=False)
