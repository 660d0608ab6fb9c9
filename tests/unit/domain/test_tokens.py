from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.domain.tokens import Claim, KeyRing, Purpose

RING = KeyRing({1: b"a" * 32}, 1)
CLAIM = Claim(Purpose.CONFIRM, 12345678901, 3, 1_739_109_600)
TOKEN = RING.sign(CLAIM)
VECTOR = "AQECAAAAAAAAAAEAAAAAAAAAAELpRILbJ91SSW_os5ybmCM"


@given(
    st.builds(
        Claim, st.sampled_from(Purpose), st.integers(0, 2**63 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)
    )
)
def test_what_was_signed_is_read(claim: Claim) -> None:
    token = RING.sign(claim)
    assert RING.read(token, claim.purpose) == claim
    assert len(token) < 60
    assert token.isascii()
    assert token.replace("-", "").replace("_", "").isalnum()


def test_the_layout_stays_so_that_links_in_old_mails_work() -> None:
    """A vector: if this fails, every link that was ever sent has stopped working."""
    assert KeyRing({1: b"0" * 32}, 1).sign(Claim(Purpose.UNSUBSCRIBE, 1, 0, 0)) == VECTOR
    raw = base64.urlsafe_b64decode(VECTOR + "=" * (-len(VECTOR) % 4))
    assert raw[:3] == bytes([1, 1, Purpose.UNSUBSCRIBE])
    assert len(raw) == 35


def test_each_purpose_is_its_own() -> None:
    """A link to leave must not confirm, nor the other way round."""
    for purpose in Purpose:
        assert (RING.read(TOKEN, purpose) is None) == (purpose is not Purpose.CONFIRM)


def test_an_old_key_still_reads_and_an_unknown_one_does_not() -> None:
    turned = KeyRing({1: b"a" * 32, 2: b"b" * 32}, 2)
    assert turned.read(TOKEN, Purpose.CONFIRM) == CLAIM
    assert turned.read(turned.sign(CLAIM), Purpose.CONFIRM) == CLAIM
    assert RING.read(turned.sign(CLAIM), Purpose.CONFIRM) is None
    assert KeyRing({1: b"x" * 32}, 1).read(TOKEN, Purpose.CONFIRM) is None


def test_every_changed_or_missing_character_is_noticed() -> None:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for index in range(len(TOKEN)):
        assert RING.read(TOKEN[:index], Purpose.CONFIRM) is None
        for other in alphabet:
            if other != TOKEN[index]:
                assert RING.read(TOKEN[:index] + other + TOKEN[index + 1 :], Purpose.CONFIRM) is None


@pytest.mark.parametrize(
    "token", ["", "=", "é" * 47, TOKEN + "=", TOKEN + "A", TOKEN + "\n", " " + TOKEN, "A" * 47, "A" * 10**6, "\0"]
)
def test_garbage_is_no_claim(token: str) -> None:
    assert RING.read(token, Purpose.CONFIRM) is None


@given(st.text(max_size=120))
def test_no_text_raises(token: str) -> None:
    assert RING.read(token, Purpose.CONFIRM) is None
