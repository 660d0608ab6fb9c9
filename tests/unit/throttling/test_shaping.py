"""The table of destinations: what it says, and what is said about a wrong one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.servers import REPOSITORY
from worker.delivery.throttling import Limit, PauseTable, Shaping
from worker.domain.breaker import Pauses
from worker.domain.errors import ConfigurationError


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "shaping.toml"
    path.write_text(text, "utf-8")
    return path


def test_a_group_with_all_its_figures(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        '[destinations.a]\ndomains = ["a.example", "b.example"]\nlimit = { count = 10, seconds = 60 }\n'
        "connections = 2\nmessages_per_connection = 20\n[destinations.b]\ndomains = ['c.example']\n",
    )
    shaping = Shaping.load(path)
    first, second = shaping.groups
    assert (first.name, first.domains) == ("a", ("a.example", "b.example"))
    assert first.limit == Limit("destination:a", 10, 60)
    assert (first.connections, first.messages_per_connection) == (2, 20)
    assert second.limit is None
    assert shaping.group_of("B.Example") == "a"
    assert shaping.group_of("c.example") == "b"
    assert shaping.group_of("sub.c.example") == ""


def test_a_group_is_found_by_its_servers(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        '[destinations.a]\ndomains = ["a.example"]\nmx = ["mx.a.example", "a.net"]\n'
        '[destinations.b]\ndomains = ["b.example"]\nmx = ["b.net"]\n',
    )
    shaping = Shaping.load(path)
    assert shaping.group_of_servers(["mx.a.example"]) == "a"
    assert shaping.group_of_servers(["One.MX.a.example", "in.a.net"]) == "a"
    # the end of a name, not of a word; and half of the servers are not all of them
    for others in (["nota.net"], ["a.example"], ["in.a.net", "in.b.net"], ["in.a.net", "mx.c.example"]):
        assert shaping.group_of_servers(others) == ""
    assert shaping.group_of_servers(["b.net"]) == "b"


def test_an_empty_table_limits_nobody(tmp_path: Path) -> None:
    assert Shaping.load(write(tmp_path, "")).groups == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[destinations.a", "cannot be read"),
        ("[destinations.a]\n", "destinations.a.domains: is missing"),
        ("[destinations.a]\ndomains = []", "destinations.a.domains: found []; allowed:"),
        ("[destinations.a]\ndomains = ['a.example']\nmx = ['.a.example']", "destinations.a.mx.0: found '.a.example'"),
        (
            "[destinations.a]\ndomains = ['a.example']\nmx = ['x.net']\n"
            "[destinations.b]\ndomains = ['b.example']\nmx = ['x.net']",
            "destinations.b.mx: found 'x.net', which destinations.a lists too",
        ),
        ("[destinations.a]\ndomains = ['a.example']\nlimits = 5", "destinations.a.limits: there is no such key"),
        ("[destination.a]\ndomains = ['a.example']", "destination: there is no such key"),
        (
            "[destinations.a]\ndomains = ['a.example']\nlimit = { count = 0 }",
            "destinations.a.limit.count: found 0; allowed: greater than 0",
        ),
        (
            "[destinations.a]\ndomains = ['a.example']\nlimit = { count = inf }",
            "destinations.a.limit.count: found inf; allowed: a finite number",
        ),
        (
            "[destinations.a]\ndomains = ['a.example']\nlimit = { count = 'many' }",
            "destinations.a.limit.count: found 'many'; allowed: a valid number",
        ),
        (
            "[destinations.a]\ndomains = ['A.example']",
            "destinations.a.domains.0: found 'A.example'; allowed: domains in lower case, such as 'gmail.com'",
        ),
        ("[destinations.'A B']\ndomains = ['a.example']", "found 'A B'; allowed: names such as 'google'"),
        (
            "[destinations.a]\ndomains = ['x.example']\n[destinations.b]\ndomains = ['x.example']",
            "destinations.b.domains: found 'x.example', which destinations.a lists too; allowed: each domain once",
        ),
    ],
)
def test_a_wrong_table_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigurationError) as caught:
        Shaping.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert said in str(caught.value)


def test_no_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Shaping.load(tmp_path / "shaping.toml")


def test_the_shipped_table_knows_the_large_providers() -> None:
    shaping = Shaping.load(REPOSITORY / "config" / "shaping.toml")
    assert shaping.group_of("gmail.com") == "google"
    assert shaping.group_of("aol.com") == "yahoo"
    assert shaping.group_of("hotmail.co.uk") == "outlook"
    assert shaping.group_of("web.de") == "gmx"
    assert shaping.group_of("example.com") == ""
    assert shaping.group_of_servers(["aspmx.l.google.com", "alt1.aspmx.l.google.com"]) == "google"
    assert shaping.group_of_servers(["mx01.mail.icloud.com", "mx02.mail.icloud.com"]) == "icloud"
    assert shaping.group_of_servers(["example-com.mail.protection.outlook.com"]) == ""
    assert all(group.limit is not None and group.limit.count >= 100 for group in shaping.groups)


def test_what_is_done_when_it_throttles_and_how_its_lines_are_secured(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "[destinations.a]\ndomains = ['a.example']\npause = 90\npauses = { 'TSS04' = 7200 }\nconnections = 3\n"
        'tls = "verify"\n',
    )
    shaping = Shaping.load(path)
    assert (shaping.groups[0].tls, shaping.groups[0].pause) == ("verify", 90)
    table = PauseTable(shaping, 60, 14_400)
    assert table.of("destination:a", "451 4.7.0 [tss04] later") == Pauses(7200, 5400, full=3)
    assert table.of("destination:a", "451 4.7.0 too fast") == Pauses(90, 5400, full=3)
    assert table.of("destination:b", "421") == table.of("mx:mx.example", "421") == Pauses(60, 5400, full=10)
    assert table.of("relay", "421") == Pauses(1, 60, full=1)


@pytest.mark.parametrize(
    ("line", "says"),
    [("tls = 'maybe'", "destinations.a.tls"), ("pause = -1", "destinations.a.pause"),
     ("pauses = { 'x' = 0 }", "destinations.a.pauses.x"), ("pauses = { 'x' = 1e9 }", "destinations.a.pauses.x")],
)  # fmt: skip
def test_a_wrong_one_is_named(tmp_path: Path, line: str, says: str) -> None:
    path = write(tmp_path, f"[destinations.a]\ndomains = ['a.example']\n{line}\n")
    with pytest.raises(ConfigurationError, match=says):
        Shaping.load(path)


def test_the_table_that_is_shipped_has_the_figures_of_its_comments() -> None:
    groups = {group.name: group for group in Shaping.load(REPOSITORY / "config" / "shaping.toml").groups}
    assert {name for name, group in groups.items() if group.tls == "required"} == {
        "google", "gmx", "comcast", "qq", "kpn",
    }  # fmt: skip
    assert {name: group.pauses for name, group in groups.items() if group.pauses} == {
        "google": (("4.7.28", 600),), "yahoo": (("TSS04", 7200),), "outlook": (("server busy", 1800),),
    }  # fmt: skip
