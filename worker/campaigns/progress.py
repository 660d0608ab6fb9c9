"""How far campaigns have come. The same objects for the command line and for HTTP."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from worker.campaigns import queries, view_queries
from worker.campaigns.views import campaign_object, lane_object
from worker.domain.campaign import resting_beyond
from worker.domain.delivery import OPEN, DeliveryStatus
from worker.domain.errors import NotFound

# A new campaign's own doorbell has this long before the sweep calls it lost.
_OWN_RING = timedelta(seconds=5)


def campaign_view(connection: Connection, campaign_id: int, now: datetime) -> dict[str, Any]:
    """One campaign, as `campaign_object`. Raises `NotFound`."""
    campaign = queries.head(connection, campaign_id)
    if campaign is None:
        raise NotFound(f"there is no campaign {campaign_id}")
    retrying = view_queries.retrying(connection, [campaign_id]).get(campaign_id, ())
    return campaign_object(campaign, _counts(connection, [campaign_id])[campaign_id], now, retrying)


def list_campaigns(
    connection: Connection, now: datetime, *, limit: int = 20, going_only: bool = False
) -> list[dict[str, Any]]:
    """The newest first, as `campaign_object`. `going_only`: those that are being planned or sent."""
    found = view_queries.heads(connection, limit, going_only=going_only)
    ids = [campaign.id for campaign in found]
    counts, retrying = _counts(connection, ids), view_queries.retrying(connection, ids)
    return [campaign_object(campaign, counts[campaign.id], now, retrying.get(campaign.id, ())) for campaign in found]


def queue_view(connection: Connection, now: datetime) -> dict[str, dict[str, float]]:
    """`{"transactional": {"depth", "oldest_s"}, "bulk": {…}}`: queued deliveries, and the age in seconds of the first.

    Bulk is what may be sent now: campaigns that are going, and do not wait for the next day of a warm-up.
    """
    beyond = resting_beyond(now)
    transactional, bulk = view_queries.queued_transactional(connection), view_queries.queued_bulk(connection, beyond)
    return {
        "transactional": lane_object(transactional, view_queries.oldest_transactional(connection), now),
        "bulk": lane_object(bulk, view_queries.oldest_bulk(connection, beyond), now),
    }


def finish(connection: Connection, now: datetime, campaign_id: int | None = None) -> list[int]:
    """Campaigns that have come to their end are marked so: planned, and nothing queued, sending or deferred.

    `campaign_id`: only this one is looked at.
    """
    return [one for one in view_queries.at_rest(connection, campaign_id) if _finish(connection, one, now)]


def _finish(connection: Connection, campaign_id: int, now: datetime) -> bool:
    """Looked at again with the campaign locked, which a retry does too before it puts rows back."""
    queries.lock(connection, campaign_id)
    if queries.has_rows(connection, campaign_id, OPEN):
        return False
    return view_queries.finish(connection, campaign_id, now)


def nearly_over(connection: Connection, campaign_id: int) -> bool:
    """Whether nothing but conversations that are open keeps it from its end."""
    # the others first: a row that is claimed between the two questions is theirs who claimed it
    sending = {DeliveryStatus.SENDING}
    return not queries.has_rows(connection, campaign_id, OPEN - sending) and queries.has_rows(
        connection, campaign_id, sending
    )


def unplanned(connection: Connection, now: datetime) -> list[int]:
    """Campaigns that a planner should be at, for the sweep; one planner too many drops out by itself."""
    return view_queries.being_planned(connection, now - _OWN_RING)


def untidy(connection: Connection, _now: datetime) -> list[int]:
    """Campaigns whose rows are still to be moved (`Control.tidy`), for the sweep."""
    return queries.untidy_ids(connection)


def _counts(connection: Connection, ids: list[int]) -> defaultdict[int, dict[str, int]]:
    found: defaultdict[int, dict[str, int]] = defaultdict(dict)
    for row in view_queries.counts(connection, ids):
        if row.n:
            found[row.campaign_id][row.status] = int(row.n)
    return found
