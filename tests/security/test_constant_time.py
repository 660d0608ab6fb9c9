"""Secrets are compared in constant time, each of them whole.

What decides is shown by taking it over: where `hmac.compare_digest` is made to say no, nothing genuine gets in, and
where it is made to say yes, anything forged does. So no other comparison, which could end early, is made of a secret.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable

import pytest

from tests.unit.intake.making import SECRET_BYTES, TOKEN, publication
from worker.domain.identity import read_return_path, return_path
from worker.domain.tokens import Claim, KeyRing, Purpose
from worker.intake.callers import bearer_caller, check_bearer, signing_caller
from worker.intake.signatures import Signed, Unauthorised, sign
from worker.intake.sources.base import Webhook
from worker.intake.sources.ghost import check_signature

KEY = b"a key for tests, and for nothing else"
RING = KeyRing({1: KEY}, 1)
NOW = 1_739_109_900
BODY = b'{"event":"post.added"}'
DAILY = publication()
Check = Callable[[str], bool]


def _lets_in(check: Callable[..., object], *given: object) -> bool:
    try:
        check(*given)
    except Unauthorised:
        return False
    return True


def _bearer(token: str) -> bool:
    return _lets_in(bearer_caller, [DAILY], f"Bearer {token}")


def _metrics(token: str) -> bool:
    return _lets_in(check_bearer, TOKEN, f"Bearer {token}")


def _webhook(signature: str) -> bool:
    return _lets_in(signing_caller, [DAILY], Signed("msg_1", str(NOW), f"v1,{signature}"), BODY, NOW, 300)


def _ghost(digest: str) -> bool:
    headers = {"x-ghost-signature": f"sha256={digest}, t={NOW * 1000}"}
    return _lets_in(check_signature, DAILY, Webhook(headers, BODY, None, NOW, 300))


def _link(token: str) -> bool:
    return RING.read(token, Purpose.UNSUBSCRIBE) is not None


def _bounce(address: str) -> bool:
    return read_return_path(KEY, address) is not None


_GHOST = hmac.new(DAILY.ghost_secrets[0].encode(), BODY + str(NOW * 1000).encode(), "sha256").hexdigest()
_LINK = RING.sign(Claim(Purpose.UNSUBSCRIBE, 7, 0, NOW))
_BOUNCE = return_path(KEY, 7, "blog.example")
# What is checked, what is genuine, and where in it the secret part is.
CHECKS: dict[str, tuple[Check, str, range]] = {
    "a bearer token": (_bearer, TOKEN, range(len(TOKEN))),
    "the metrics' token": (_metrics, TOKEN, range(len(TOKEN))),
    "a webhook's signature": (_webhook, sign(SECRET_BYTES, "msg_1", NOW, BODY).removeprefix("v1,"), range(43)),
    "Ghost's signature": (_ghost, _GHOST, range(64)),
    "a link's token": (_link, _LINK, range(len(_LINK) - 20, len(_LINK) - 1)),
    "a return path": (_bounce, _BOUNCE, range(_BOUNCE.index("-") + 1, _BOUNCE.index("@"))),
}


def _forged(genuine: str, at: int) -> str:
    other = "0" if genuine[at] != "0" else "1"
    return genuine[:at] + other + genuine[at + 1 :]


@pytest.mark.parametrize(("check", "genuine", "secret"), CHECKS.values(), ids=CHECKS.keys())
def test_every_place_of_a_secret_counts(check: Check, genuine: str, secret: range) -> None:
    assert check(genuine)
    assert not any(check(_forged(genuine, at)) for at in secret)


@pytest.mark.parametrize(("check", "genuine", "secret"), CHECKS.values(), ids=CHECKS.keys())
def test_nothing_but_the_constant_comparison_decides(
    monkeypatch: pytest.MonkeyPatch, check: Check, genuine: str, secret: range
) -> None:
    monkeypatch.setattr(hmac, "compare_digest", lambda *_: False)
    assert not check(genuine)
    monkeypatch.setattr(hmac, "compare_digest", lambda *_: True)
    assert all(check(_forged(genuine, at)) for at in (secret[0], secret[-1]))


@pytest.mark.parametrize(("check", "genuine", "secret"), CHECKS.values(), ids=CHECKS.keys())
def test_as_much_is_compared_wherever_the_first_difference_is(
    monkeypatch: pytest.MonkeyPatch, check: Check, genuine: str, secret: range
) -> None:
    """And as often; both sides in the same length, so that none of them is given up early."""
    compared: list[tuple[int, int]] = []
    real = hmac.compare_digest

    def watched(one: str, other: str) -> bool:
        compared.append((len(one), len(other)))
        return real(one, other)

    monkeypatch.setattr(hmac, "compare_digest", watched)
    seen = []
    for tried in (genuine, _forged(genuine, secret[0]), _forged(genuine, secret[-1])):
        compared.clear()
        check(tried)
        seen.append(list(compared))
    assert seen[0] == seen[1] == seen[2] != []
    assert all(one == other for one, other in seen[0])
