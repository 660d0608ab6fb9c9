"""What a campaign looks like from outside: the same object in `pressrun status --json` and over HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from worker.domain.campaign import GOING, CampaignStatus, resting_beyond
from worker.domain.delivery import OPEN, DeliveryStatus

Counts = Mapping[str, int]
"""{status: deliveries}; a status that nothing has is left out."""

# Ended without anything having been handed over: they say nothing about the speed.
_UNSENT = frozenset({DeliveryStatus.SUPPRESSED, DeliveryStatus.CANCELLED, DeliveryStatus.EXPIRED})


Head = Any
"""A campaign's row with `id`, `publication`, `post_id`, `status`, `reason` and its times; SQLAlchemy's or our own."""


def campaign_object(campaign: Head, counts: Counts, now: datetime, retrying: Sequence[str] = ()) -> dict[str, Any]:
    """`{"id", "publication", "post", "status", "reason", "counts": {STATUS: n}, "planned": n, "retrying": [STATUS],
    "created_at", "started_at", "finished_at", "rate", "eta_s"}`: times in ISO 8601 or None; `rate` in mails a second
    since the first turn, `eta_s` in seconds, both None where there is nothing to say; `retrying`: what a retry that is
    not through has still to queue again.
    """
    held = campaign.rests_until is not None and campaign.rests_until > resting_beyond(now)
    at_rest = campaign.status in (CampaignStatus.FINISHED, CampaignStatus.CANCELLED)
    rate = _rate(campaign, counts, now)
    waiting = sum(counts.get(status, 0) for status in OPEN)
    known = rate and campaign.status == CampaignStatus.SENDING and not held
    return {
        "id": campaign.id, "publication": campaign.publication, "post": campaign.post_id,
        "status": campaign.status, "reason": campaign.reason, "counts": dict(sorted(counts.items())),
        "planned": sum(counts.values()), "retrying": list(retrying), "created_at": _iso(campaign.created_at),
        "started_at": _iso(campaign.started_at), "finished_at": _iso(campaign.finished_at if at_rest else None),
        "rate": rate, "eta_s": round(waiting / rate, 1) if rate and known else None,
    }  # fmt: skip


def lane_object(depth: int, oldest: datetime | None, now: datetime) -> dict[str, float]:
    """`{"depth", "oldest_s"}`: queued deliveries, and the age in seconds of the first."""
    age = (now - oldest).total_seconds() if depth and oldest is not None else 0.0
    return {"depth": depth, "oldest_s": round(max(0.0, age), 1)}


def _rate(campaign: Head, counts: Counts, now: datetime) -> float | None:
    """The average since the first turn of a campaign that is going."""
    if campaign.started_at is None or campaign.status not in GOING:
        return None
    done = sum(n for status, n in counts.items() if status not in OPEN | _UNSENT)
    seconds = (now - campaign.started_at).total_seconds()
    return round(done / seconds, 1) if seconds > 0 and done else None


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
