"""Addresses: one key for each mailbox, whatever way it is written, and nothing that could break a line."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from worker.audience.addresses import Address, _plain, _validated, mask, parse_address
from worker.domain.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "email", "address", "domain"),
    [
        ("ana.lopez@example.com", "ana.lopez@example.com", "ana.lopez@example.com", "example.com"),
        (" Ana+News@Example.COM ", "Ana+News@example.com", "ana+news@example.com", "example.com"),
        ("INFO@example.com", "INFO@example.com", "info@example.com", "example.com"),
        ("ana@bücher.example", "ana@xn--bcher-kva.example", "ana@xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("ana@XN--BCHER-KVA.example", "ana@xn--bcher-kva.example", "ana@xn--bcher-kva.example",
         "xn--bcher-kva.example"),
        ("ana@faß.example", "ana@xn--fa-hia.example", "ana@xn--fa-hia.example", "xn--fa-hia.example"),
        ("JÖRG@example.com", "JÖRG@example.com", "jörg@example.com", "example.com"),
        # a composed and a decomposed ö are the same letter
        ("jo\u0308rg@example.com", "jörg@example.com", "jörg@example.com", "example.com"),
        ("用户@例え.jp", "用户@xn--r8jz45g.jp", "用户@xn--r8jz45g.jp", "xn--r8jz45g.jp"),
        # operators try things out with names that never resolve
        ("ana@mail.test", "ana@mail.test", "ana@mail.test", "mail.test"),
        ("ana@x.invalid", "ana@x.invalid", "ana@x.invalid", "x.invalid"),
        ("ana@x.localhost", "ana@x.localhost", "ana@x.localhost", "x.localhost"),
        ("ana@mail.local", "ana@mail.local", "ana@mail.local", "mail.local"),
    ],
)  # fmt: skip
def test_one_key_for_each_mailbox(text: str, email: str, address: str, domain: str) -> None:
    assert parse_address(text) == Address(email, address, domain)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is missing"),
        ("   ", "is missing"),
        ("ana", "@-sign"),
        ("ana@", "after the @-sign"),
        ("@example.com", "before the @-sign"),
        ("ana@localhost", "period"),
        ("ana@example", "period"),
        ("ana@example..com", "two periods"),
        ("ana@exa_mple.com", "'_'"),
        ("ana@example.com, bo@example.com", "invalid characters"),
        ("Ana <ana@example.com>", "display name"),
        ('"ana lopez"@example.com', "not allowed"),
        ("ana@[192.0.2.1]", "not allowed"),
        ("ana@x.onion", "special-use"),
        ("ana\n@example.com", "control characters"),
        ("ana@example.com\n", "control characters"),
        ("ana@example.com\r\nBcc: bo@example.com", "control characters"),
        ("ana\0@example.com", "control characters"),
        ("ana\u2028@example.com", "control characters"),
        ("ana\ud800@example.com", "control characters"),
        ("a" * 65 + "@example.com", "too long"),
        ("a@" + "b" * 64 + ".com", "so many characters"),
        ("a@" + "b.c" * 100 + ".com", "254 characters"),
        ("x" * 1_000_000, "254 characters"),
    ],
)
def test_refusals_name_the_field_and_what_is_wrong(text: str, said: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_address(text, "data.subscriber.email")
    (problem,) = caught.value.problems
    assert problem.field == "data.subscriber.email"
    assert said in problem.message


_ATOMS = st.text("abcXYZ019!#$%&'*+-/=?^_`{|}~.", min_size=1, max_size=70)
_DOMAINS = st.lists(st.text("abXY09-", min_size=1, max_size=66), min_size=1, max_size=5).map(".".join)
_NEARLY = st.builds("{}@{}".format, _ATOMS, _DOMAINS) | st.emails() | st.text(max_size=40)


@settings(deadline=None, max_examples=500)
@given(_NEARLY)
@example("a@x.arpa")
@example("a@x.onion")
@example("a@b.c")
@example("a@b.1c")
@example("a@b.c1")
@example("a@xn--a.com")
@example("a@b--c.com")
@example("a" * 64 + "@" + ".".join(["b" * 61] * 3) + ".co")
@example("a" * 64 + "@" + ".".join(["b" * 61] * 3) + ".com")
@example("a" * 64 + "@" + ".".join(["b" * 61] * 3) + ".comm")
@example("ana@EXAMPLE.com\n")
def test_the_short_way_says_what_the_validator_says(text: str) -> None:
    short = _plain(text)
    if short is not None:
        assert short == _validated(text, "email")


@settings(deadline=None, max_examples=200)
@given(st.builds("{}@{}".format, st.text(min_size=1, max_size=30), st.sampled_from(["example.com", "bücher.example"])))
@example("ΐ@example.com")
@example("ͅα@example.com")
@example("ﬃ@example.com")
def test_a_key_is_its_own_key_and_fits_its_column(text: str) -> None:
    try:
        found = parse_address(text)
    except InvalidInput:
        return
    assert len(found.address) <= 320
    assert len(found.email.encode()) <= 320
    assert parse_address(found.email).address == found.address
    try:
        assert parse_address(found.address).address == found.address
    except InvalidInput:
        # folded letters may be longer than an address may be
        assert len(found.address) > len(found.email)


def test_the_short_way_is_taken_for_what_people_have() -> None:
    assert all(_plain(one) for one in ("a@b.co", "first.last+tag@mail.example.org", "O'Neil_99@x-y.example"))


def test_masks() -> None:
    assert mask("ana.lopez@example.com") == "a***@example.com"
    assert mask("nonsense") == "***"
