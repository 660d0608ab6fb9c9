"""Moving a campaign's rows in slices, and what is to be moved: derived from the campaign alone, so that a lost
doorbell loses nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from worker.campaigns import queries
from worker.campaigns.pace import Pace
from worker.campaigns.queries import AnyRow
from worker.campaigns.state import OPEN_CAMPAIGN
from worker.domain.campaign import CampaignStatus
from worker.domain.delivery import OPEN, DeliveryStatus, Reason
from worker.storage.moves import Move, record_moves


@dataclass(frozen=True, slots=True)
class Haul:
    """Rows at `old` (with this reason, or None: with any) that go to `new`: `cancelled`, `queued` or `sent`."""

    old: DeliveryStatus
    new: DeliveryStatus
    reason: Reason | None = None


_CANCEL = (
    Haul(DeliveryStatus.QUEUED, DeliveryStatus.CANCELLED),
    Haul(DeliveryStatus.DEFERRED, DeliveryStatus.CANCELLED),
)
_PUT_BACK = (Haul(DeliveryStatus.CANCELLED, DeliveryStatus.QUEUED, Reason.CAMPAIGN_CANCELLED),)


def outstanding(campaign: AnyRow) -> tuple[Haul, ...]:
    """What its status still asks for; the same condition as `storage.models.UNTIDY`."""
    status, at_rest = CampaignStatus(campaign.status), campaign.finished_at is not None
    if status is CampaignStatus.CANCELLED and not at_rest:
        return _CANCEL
    if status in OPEN_CAMPAIGN and at_rest:
        return _PUT_BACK
    return ()


def settle(connection: Connection, campaign_id: int, now: datetime) -> None:
    """Note that a campaign's rows have been moved, if they all have: what is being sent just now comes back later."""
    campaign = queries.lock(connection, campaign_id)
    hauls = outstanding(campaign) if campaign is not None else ()
    if hauls == _CANCEL and not queries.has_rows(connection, campaign_id, OPEN):
        queries.change(connection, campaign_id, {"finished_at": now})
    if hauls == _PUT_BACK and not _more(connection, campaign_id, _PUT_BACK[0]):
        queries.change(connection, campaign_id, {"finished_at": None})


Still = Callable[[Connection, AnyRow], bool]
"""Asked in each slice's transaction, with the campaign locked: whether the rows are still to be moved."""


def haul(pace: Pace, campaign_id: int, job: Haul, still: Still) -> int:
    """Move slices until there are no more rows or the run has had its time; how many rows."""
    after = total = 0
    while not pace.over:
        with pace.slice() as connection:
            campaign = queries.lock(connection, campaign_id)
            if campaign is None or not still(connection, campaign):
                break
            rows = queries.take_rows(connection, campaign_id, job.old, job.reason, after, pace.size)
            if not rows:
                break
            move(connection, job.old, job.new, rows)
        after = rows[-1].id
        total += len(rows)
    return total


def move(connection: Connection, old: DeliveryStatus, new: DeliveryStatus, rows: queries.Rows) -> None:
    """Rows (id, slice_id, reason) that are all at `old`, with their tallies, in the caller's transaction."""
    queries.MOVES[new](connection, [row.id for row in rows])
    reason = Reason.CAMPAIGN_CANCELLED if new is DeliveryStatus.CANCELLED else Reason.NONE
    places = Counter((row.slice_id, Reason(row.reason)) for row in rows)
    record_moves(connection, [Move(place, old, was, new, reason, n) for (place, was), n in places.items()])


def _more(connection: Connection, campaign_id: int, job: Haul) -> bool:
    return bool(queries.take_rows(connection, campaign_id, job.old, job.reason, 0, 1))
