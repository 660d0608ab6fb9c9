"""What the tests of the intake are made of."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings

from worker.domain.publication import Brand, MailingList, Publication, Sender

hostile = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""For properties: a busy machine draws slowly, which says nothing about the code."""

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
TOKEN = "a-token-for-tests"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SECRET_BYTES = base64.b64decode(SECRET.removeprefix("whsec_"))
GHOST_SECRET = "abc123dontstealme"


def publication(slug: str = "daily", *lists: str, token: str = TOKEN, secret: bytes = SECRET_BYTES) -> Publication:
    return Publication(
        slug=slug, name=slug.title(), sender=Sender(slug, f"news@{slug}.example"), brand=Brand("https://blog.example"),
        lists=tuple(MailingList(one, one) for one in lists or ("posts",)),
        token_hashes=(hashlib.sha256(token.encode()).hexdigest(),), signing_secrets=(secret,),
        ghost_secrets=(GHOST_SECRET,),
    )  # fmt: skip


def sample(name: str) -> dict[str, Any]:
    """One of the samples, parsed: `post-published`, `subscriber-created`, `ghost-post-published`."""
    value: dict[str, Any] = json.loads((SAMPLES / f"{name}.json").read_text("utf-8"))
    return value
