"""How far campaigns have come. The same objects for the command line and for HTTP."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from worker.campaigns import queries, view_queries
from worker.campaigns.queries import AnyRow
from worker.domain.campaign import GOING, CampaignStatus
from worker.domain.delivery import OPEN, DeliveryStatus
from worker.domain.errors import NotFound

Counts = Mapping[str, int]
"""{status: deliveries}; a status that nothing has is left out."""

# Ended without anything having been handed over: they say nothing about the speed.
_UNSENT = frozenset({DeliveryStatus.SUPPRESSED, DeliveryStatus.CANCELLED, DeliveryStatus.EXPIRED})


def campaign_view(connection: Connection, campaign_id: int, now: datetime) -> dict[str, Any]:
    """One campaign. Raises `NotFound`.

    `{"id", "publication", "post", "status", "reason", "counts": {STATUS: n}, "planned": n, "created_at",
    "started_at", "finished_at", "rate", "eta_s"}`: times in ISO 8601 or None; `rate` in mails a second since the
    first turn, `eta_s` in seconds, both None where there is nothing to say.
    """
    campaign = queries.head(connection, campaign_id)
    if campaign is None:
        raise NotFound(f"there is no campaign {campaign_id}")
    return _view(campaign, _counts(connection, [campaign_id])[campaign_id], now)


def list_campaigns(
    connection: Connection, now: datetime, *, limit: int = 20, going_only: bool = False
) -> list[dict[str, Any]]:
    """The newest first, as `campaign_view`. `going_only`: those that are being planned or sent."""
    found = view_queries.heads(connection, limit, going_only=going_only)
    counts = _counts(connection, [campaign.id for campaign in found])
    return [_view(campaign, counts[campaign.id], now) for campaign in found]


def queue_view(connection: Connection, now: datetime) -> dict[str, dict[str, float]]:
    """`{"transactional": {"depth", "oldest_s"}, "bulk": {…}}`: queued deliveries, and the age in seconds of the first.

    Bulk is what may be sent now: campaigns that are going.
    """
    going = queries.going_ids(connection)
    return {
        "transactional": _lane(connection, view_queries.queued(connection, None), [None], now),
        "bulk": _lane(connection, view_queries.queued(connection, going), going, now),
    }


def finish(connection: Connection, now: datetime) -> list[int]:
    """Campaigns that have come to their end are marked so: planned, and nothing queued, sending or deferred."""
    candidates = view_queries.planned_sending(connection)
    at_rest = [one for one in candidates if not queries.has_rows(connection, one, OPEN)]
    return [one for one in at_rest if _finish(connection, one, now)]


def _finish(connection: Connection, campaign_id: int, now: datetime) -> bool:
    """Looked at again with the campaign locked, which a retry does too before it puts rows back."""
    queries.lock(connection, campaign_id)
    if queries.has_rows(connection, campaign_id, OPEN):
        return False
    return view_queries.finish(connection, campaign_id, now)


def being_planned(connection: Connection) -> list[int]:
    """Campaigns that a planner should be at, for the sweep; a planner too many drops out by itself."""
    return queries.going_ids(connection, CampaignStatus.PLANNING)


def _counts(connection: Connection, ids: list[int]) -> defaultdict[int, dict[str, int]]:
    found: defaultdict[int, dict[str, int]] = defaultdict(dict)
    for row in view_queries.counts(connection, ids):
        if row.n:
            found[row.campaign_id][row.status] = int(row.n)
    return found


def _view(campaign: AnyRow, counts: Counts, now: datetime) -> dict[str, Any]:
    at_rest = campaign.status in (CampaignStatus.FINISHED, CampaignStatus.CANCELLED)
    rate = _rate(campaign, counts, now)
    waiting = sum(counts.get(status, 0) for status in OPEN)
    known = rate and campaign.status == CampaignStatus.SENDING
    return {
        "id": campaign.id, "publication": campaign.publication, "post": campaign.post_id,
        "status": campaign.status, "reason": campaign.reason, "counts": dict(sorted(counts.items())),
        "planned": sum(counts.values()), "created_at": _iso(campaign.created_at),
        "started_at": _iso(campaign.started_at), "finished_at": _iso(campaign.finished_at if at_rest else None),
        "rate": rate, "eta_s": round(waiting / rate, 1) if rate and known else None,
    }  # fmt: skip


def _rate(campaign: AnyRow, counts: Counts, now: datetime) -> float | None:
    """The average since the first turn of a campaign that is going."""
    if campaign.started_at is None or campaign.status not in GOING:
        return None
    done = sum(n for status, n in counts.items() if status not in OPEN | _UNSENT)
    seconds = (now - campaign.started_at).total_seconds()
    return round(done / seconds, 1) if seconds > 0 and done else None


def _lane(connection: Connection, depth: int, campaigns: Iterable[int | None], now: datetime) -> dict[str, float]:
    if not depth:
        return {"depth": 0, "oldest_s": 0.0}
    made = [at for one in campaigns if (at := view_queries.oldest_queued(connection, one)) is not None]
    oldest = (now - min(made)).total_seconds() if made else 0.0
    return {"depth": depth, "oldest_s": round(max(0.0, oldest), 1)}


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
