"""Derived link tokens: nothing is stored to make one, so a million mails need no million rows.

Layout before base64url (no padding), big-endian:
`version 1B · key id 1B · purpose 1B · subscription 8B · generation 4B · issued 4B (unix s) · HMAC-SHA256[:16]`.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from worker.domain.mac import mac_of

_VERSION = 1
_BODY = struct.Struct(">BBBQII")
_MAC_BYTES = 16


class Purpose(IntEnum):
    CONFIRM = 1
    UNSUBSCRIBE = 2
    MANAGE = 3


class Claim(NamedTuple):
    """What a genuine token says. Whether it is still good is the audience's to decide."""

    purpose: Purpose
    subscription_id: int
    generation: int
    issued: int
    """Unix seconds."""


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Keys by id (0–255). `current` signs; the others keep old links alive."""

    keys: Mapping[int, bytes]
    current: int

    def sign(self, claim: Claim) -> str:
        body = _BODY.pack(_VERSION, self.current, *claim)
        mac = mac_of(self.keys[self.current]).tag(body)[:_MAC_BYTES]
        return base64.urlsafe_b64encode(body + mac).rstrip(b"=").decode("ascii")

    def read(self, token: str, purpose: Purpose) -> Claim | None:
        """The claim, or None for anything cut short, altered, of another purpose or of an unknown key."""
        raw = _decode(token)
        if raw is None or len(raw) != _BODY.size + _MAC_BYTES:
            return None
        version, key_id, found, subscription_id, generation, issued = _BODY.unpack_from(raw)
        key = self.keys.get(key_id)
        if version != _VERSION or found != purpose or key is None:
            return None
        mac = mac_of(key).tag(raw[: _BODY.size])[:_MAC_BYTES]
        if not hmac.compare_digest(mac, raw[_BODY.size :]):
            return None
        return Claim(purpose, subscription_id, generation, issued)


def _decode(token: str) -> bytes | None:
    if not token.isascii() or len(token) > 100:
        return None
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    # Base64 leaves spare bits at the end: one token must have one spelling.
    return raw if base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii") == token else None
