"""Standard Webhooks (standardwebhooks.com, "Signature scheme"): HMAC-SHA256 over `id.timestamp.rawbody`.

Own code, since the library lets malformed signatures escape as raw exceptions, takes a float for a
timestamp and knows one key only.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from worker.domain.errors import PermanentError

# Eleven digits reach into the year 5138; `int()` is never given more.
_TIMESTAMP = re.compile(r"[0-9]{1,11}")


class Unauthorised(PermanentError):
    """Who speaks is not known. `field` is the header that is wrong; the message says why, without secrets."""

    def __init__(self, field: str, message: str) -> None:
        self.field = field
        self.message = message
        super().__init__(f"{field}: {message}")


@dataclass(frozen=True, slots=True)
class Signed:
    """The three headers of a signed request, as they came."""

    id: str
    timestamp: str
    signatures: str


def sign(secret: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature` for one secret: `v1,` and base64."""
    digest = hmac.digest(secret, _signed_content(message_id, str(timestamp), body), sha256)
    return "v1," + base64.b64encode(digest).decode("ascii")


def check_fresh(signed: Signed, now: float, tolerance: float) -> None:
    """Raise `Unauthorised` where the timestamp is no plain integer or more than `tolerance` seconds off."""
    if not _TIMESTAMP.fullmatch(signed.timestamp):
        raise Unauthorised("webhook-timestamp", "must be a whole number: seconds since 1970")
    age = now - int(signed.timestamp)
    if abs(age) > tolerance:
        off = f"{age:.0f} s old" if age > 0 else f"{-age:.0f} s in the future"
        raise Unauthorised(
            "webhook-timestamp",
            f"the signature is {off}, {tolerance:g} s are allowed; sign each attempt anew and check the clock",
        )


def matches(secrets: Sequence[bytes], signed: Signed, body: bytes) -> bool:
    """Whether any `v1` signature was made with any of the secrets. Each pair takes the same time."""
    content = _signed_content(signed.id, signed.timestamp, body)
    given = [base_64 for version, base_64 in _signatures(signed.signatures) if version == "v1"]
    found = False
    for secret in secrets:
        expected = base64.b64encode(hmac.digest(secret, content, sha256))
        for one in given:
            found |= hmac.compare_digest(expected, one)
    return found


def _signatures(header: str) -> Iterable[tuple[str, bytes]]:
    for part in header.split(" "):
        version, comma, value = part.partition(",")
        if comma:
            # beyond Latin-1 cannot come over HTTP; whatever came is compared, not decoded
            yield version, value.encode("latin-1", "replace")


def _signed_content(message_id: str, timestamp: str, body: bytes) -> bytes:
    return f"{message_id}.{timestamp}.".encode("latin-1", "replace") + body
