"""HMAC-SHA256 (RFC 2104) for many short texts under one key.

`hmac.digest` prepares the key each time and lets go of the interpreter's lock: four of them a mail made the threads
of a sending process wait for each other. Here the key is prepared once, and short texts keep the lock.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256

_BLOCK_BYTES = 64


class Mac:
    """Tags of 32 bytes."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        padded = (sha256(key).digest() if len(key) > _BLOCK_BYTES else key).ljust(_BLOCK_BYTES, b"\0")
        self._inner = sha256(bytes(byte ^ 0x36 for byte in padded))
        self._outer = sha256(bytes(byte ^ 0x5C for byte in padded))

    def tag(self, text: bytes) -> bytes:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(text)
        outer.update(inner.digest())
        return outer.digest()


@lru_cache(maxsize=64)
def mac_of(key: bytes) -> Mac:
    """The prepared key. A ring holds a few; they live as long as the process."""
    return Mac(key)
