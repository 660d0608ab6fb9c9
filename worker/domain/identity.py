"""What is derived from a delivery, so that nothing about it has to be stored or drawn again."""

from __future__ import annotations

import hmac

from worker.domain.mac import mac_of

_TAG_BYTES = 10


def _tag(key: bytes, purpose: bytes, value: int) -> str:
    return mac_of(key).tag(purpose + value.to_bytes(8, "big"))[:_TAG_BYTES].hex()


def message_id(key: bytes, delivery_id: int, domain: str) -> str:
    """`<id.tag@domain>`: unique, deterministic and in the sender's domain (RFC 5322 §3.6.4)."""
    return f"<{delivery_id}.{_tag(key, b'mid', delivery_id)}@{domain}>"


def return_path(key: bytes, delivery_id: int, domain: str) -> str:
    """A return path per delivery (VERP) that nobody else can make: `b+id-tag@domain`."""
    return f"b+{delivery_id}-{_tag(key, b'verp', delivery_id)}@{domain}"


def read_return_path(key: bytes, address: str) -> int | None:
    """The delivery id behind a return path of ours, or None where the tag does not match."""
    if not address.isascii():
        return None
    local, _, domain = address.partition("@")
    prefix, _, rest = local.partition("+")
    number, _, _ = rest.partition("-")
    if prefix.lower() != "b" or not number.isdigit() or len(number) > 18:
        return None
    delivery_id = int(number)
    expected = return_path(key, delivery_id, domain)
    return delivery_id if hmac.compare_digest(expected.lower(), address.lower()) else None
