"""Standard Webhooks and bearer tokens: who speaks is known before anything is read."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.intake.making import SECRET_BYTES, TOKEN, hostile, publication
from worker.intake.callers import bearer_caller, caller
from worker.intake.signatures import Signed, Unauthorised, check_fresh, matches, sign

# the vector of shared rules, which is the one of the specification's own libraries
ID, TIME, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
OTHER = b"another secret, of 32 bytes here"
DAILY = publication("daily")
WEEKLY = publication("weekly", token="the token of weekly", secret=OTHER)


def headers(signatures: str = SIGNATURE, *, id_: str = ID, timestamp: str = str(TIME)) -> dict[str, str]:
    return {"webhook-id": id_, "webhook-timestamp": timestamp, "webhook-signature": signatures}


def test_the_vector() -> None:
    assert sign(SECRET_BYTES, ID, TIME, BODY) == SIGNATURE
    assert matches([SECRET_BYTES], Signed(ID, str(TIME), SIGNATURE), BODY)


@pytest.mark.parametrize(
    "signatures",
    [
        SIGNATURE.replace("OE=", "OA="),
        SIGNATURE[:-1],
        SIGNATURE[:20],
        SIGNATURE.replace("v1,", "v2,"),
        SIGNATURE.replace("v1,", "v1a,"),
        SIGNATURE.removeprefix("v1,"),
        "v1",
        "v1,",
        ",",
        "",
        "v1,not base64 at all",
        "v1,\xe9",
        SIGNATURE.replace("v1,", "V1,"),
    ],
)
def test_signatures_that_are_none(signatures: str) -> None:
    assert not matches([SECRET_BYTES], Signed(ID, str(TIME), signatures), BODY)


@pytest.mark.parametrize(
    "signatures",
    [f"v1,{base64.b64encode(b'old').decode()} {SIGNATURE}", f"{SIGNATURE} v1a,xyz", f"v2,abc  {SIGNATURE}"],
)
def test_one_of_several_signatures_is_enough(signatures: str) -> None:
    assert matches([SECRET_BYTES], Signed(ID, str(TIME), signatures), BODY)


def test_one_of_several_secrets_is_enough() -> None:
    assert matches([OTHER, SECRET_BYTES], Signed(ID, str(TIME), SIGNATURE), BODY)
    assert not matches([OTHER], Signed(ID, str(TIME), SIGNATURE), BODY)
    assert not matches([], Signed(ID, str(TIME), SIGNATURE), BODY)


def test_nothing_of_what_is_signed_may_differ() -> None:
    assert not matches([SECRET_BYTES], Signed(ID + "x", str(TIME), SIGNATURE), BODY)
    assert not matches([SECRET_BYTES], Signed(ID, str(TIME + 1), SIGNATURE), BODY)
    assert not matches([SECRET_BYTES], Signed(ID, str(TIME), SIGNATURE), BODY + b" ")


@pytest.mark.parametrize(
    "timestamp",
    ["", "soon", "1614265330.0", "1e9", "-1614265330", "+1614265330", " 1614265330", "0x60", "١٢", "9" * 12],
)
def test_timestamps_are_plain_integers(timestamp: str) -> None:
    with pytest.raises(Unauthorised, match="whole number"):
        check_fresh(Signed(ID, timestamp, SIGNATURE), TIME, 300)


def test_the_tolerance_holds_both_ways() -> None:
    signed = Signed(ID, str(TIME), SIGNATURE)
    check_fresh(signed, TIME + 300, 300)
    check_fresh(signed, TIME - 300, 300)
    with pytest.raises(Unauthorised, match=r"301 s old, 300 s are allowed"):
        check_fresh(signed, TIME + 301, 300)
    with pytest.raises(Unauthorised, match="301 s in the future"):
        check_fresh(signed, TIME - 301, 300)


def test_the_credential_tells_whose_it_is() -> None:
    both = [DAILY, WEEKLY]
    assert caller(both, headers(), BODY, TIME, 300) is DAILY
    assert caller(both, headers(sign(OTHER, ID, TIME, BODY)), BODY, TIME, 300) is WEEKLY
    assert caller(both, {"authorization": f"Bearer {TOKEN}"}, BODY, TIME, 300) is DAILY
    assert caller(both, {"authorization": "bearer the token of weekly"}, BODY, TIME, 300) is WEEKLY


@pytest.mark.parametrize(
    ("given_headers", "field"),
    [
        ({}, "authorization"),
        ({"authorization": ""}, "authorization"),
        ({"authorization": "Bearer"}, "authorization"),
        ({"authorization": "Bearer "}, "authorization"),
        ({"authorization": f"Basic {TOKEN}"}, "authorization"),
        ({"authorization": f"Bearer {TOKEN[:-1]}"}, "authorization"),
        ({"authorization": "Bearer \xff"}, "authorization"),
        # a wrong token is not saved by a right signature
        ({"authorization": "Bearer x", **headers()}, "authorization"),
        ({**headers(), "webhook-id": ""}, "webhook-id"),
        ({**headers(), "webhook-timestamp": ""}, "webhook-timestamp"),
        ({**headers(), "webhook-signature": ""}, "webhook-signature"),
        (headers(SIGNATURE.replace("OE=", "OA=")), "webhook-signature"),
        (headers(id_="another"), "webhook-signature"),
    ],
)
def test_every_refusal_names_the_header(given_headers: dict[str, str], field: str) -> None:
    with pytest.raises(Unauthorised) as error:
        caller([DAILY, WEEKLY], given_headers, BODY, TIME, 300)
    assert error.value.field == field
    assert TOKEN not in str(error.value)


def test_a_publication_without_secrets_lets_nobody_in() -> None:
    closed = publication("closed", token="x")
    closed = type(closed)(**{name: getattr(closed, name) for name in ("slug", "name", "sender", "brand", "lists")})
    with pytest.raises(Unauthorised):
        bearer_caller([closed], "Bearer ")
    with pytest.raises(Unauthorised):
        caller([closed], headers(), BODY, TIME, 300)


@hostile
@given(st.text(st.characters(max_codepoint=255)), st.text(st.characters(max_codepoint=255)), st.binary())
def test_hostile_signatures_are_refused(signatures: str, id_: str, body: bytes) -> None:
    with pytest.raises(Unauthorised):
        caller([DAILY], headers(signatures, id_=id_), body, TIME, 300)
