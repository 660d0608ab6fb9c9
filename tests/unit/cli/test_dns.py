"""SPF, DKIM and DMARC as DNS says them, over answers made up here."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from worker.cli.dns import NoDns, check_sender
from worker.cli.findings import Finding

_GOOD: Mapping[str, list[str]] = {
    "news.example": ["google-site-verification=x", "v=spf1 include:relay.example -all"],
    "_domainkey.news.example": [],
    "_dmarc.news.example": ["v=DMARC1; p=none"],
}


def _check(domain: str, zone: Mapping[str, list[str]]) -> dict[str, Finding]:
    return {one.what.split()[0]: one for one in check_sender(domain, zone.get)}


def test_a_domain_that_is_set_up() -> None:
    assert all(one.ok for one in _check("news.example", _GOOD).values())


@pytest.mark.parametrize(
    ("change", "failing", "words"),
    [
        ({"news.example": ["something"]}, "SPF", 'publish TXT news.example "v=spf1'),
        ({"news.example": ["v=spf1 -all", "v=spf1 ~all"]}, "SPF", "2 records; RFC 7208"),
        ({"news.example": ["v=spf10 -all"]}, "SPF", "publish TXT"),
        ({"_dmarc.news.example": []}, "DMARC", "publish TXT _dmarc.news.example"),
    ],
)
def test_what_is_missing_comes_with_the_fix(change: dict[str, list[str]], failing: str, words: str) -> None:
    found = _check("news.example", {**_GOOD, **change})
    assert [name for name, one in found.items() if not one.ok] == [failing]
    assert words in found[failing].words


def test_no_dkim_key_at_all() -> None:
    zone = {name: records for name, records in _GOOD.items() if not name.startswith("_domainkey")}
    assert _check("news.example", zone)["DKIM"].words.startswith("no key below _domainkey.news.example")


def test_the_domain_above_may_hold_the_policy() -> None:
    zone = {"_dmarc.example.com": ["v=DMARC1; p=reject"]}
    assert _check("mail.news.example.com", zone)["DMARC"].ok


def test_no_network_is_said() -> None:
    def nobody(_name: str) -> list[str] | None:
        raise NoDns("no DNS server answers here (Timeout): is there a network?")

    found = list(check_sender("news.example", nobody))
    assert [one.ok for one in found] == [False] * 3
    assert all("is there a network?" in one.words for one in found)
