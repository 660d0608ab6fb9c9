"""Readers, the key of their addresses, and their ties to lists."""

from __future__ import annotations

import unicodedata
from enum import StrEnum


def address_key(email: str) -> str:
    """Who somebody is, of an address as it is written to: its local part in canonical caseless form (Unicode §3.13,
    D145), composed. The domain, an A-label in small letters, stays. What is no address has no key: empty."""
    local, at, domain = email.rpartition("@")
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFD", local).casefold())
    return f"{folded}@{domain}" if at else ""


class SubscriptionStatus(StrEnum):
    PENDING = "pending"
    ACTIVE = "active"
    UNSUBSCRIBED = "unsubscribed"


class ConsentAction(StrEnum):
    """What an append-only consent row testifies to."""

    REQUESTED = "requested"
    CONFIRMED = "confirmed"
    IMPORTED = "imported"
    WITHDRAWN = "withdrawn"


class SuppressionReason(StrEnum):
    HARD_BOUNCE = "hard_bounce"
    COMPLAINT = "complaint"
    OPERATOR = "operator"
    ERASED = "erased"
