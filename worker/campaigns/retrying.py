"""An operator's retry of a campaign: what ended badly is queued again, in slices.

What is left to do stands in the ledger (`retries`). Who began it does what fits into one run; the tidy task, or a
sweep, does the rest. Rows keep their id, so their Message-ID, and the attempts on record; their own count of attempts
and their lifetime start anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from sqlalchemy import Connection

from worker.campaigns import queries, retry_queries
from worker.campaigns.moving import move
from worker.campaigns.pace import Pace
from worker.campaigns.queries import AnyRow
from worker.domain.campaign import CampaignReason, CampaignStatus, check_campaign_move
from worker.domain.delivery import DeliveryStatus
from worker.domain.errors import InvalidInput

Retryable = Literal["failed", "bounced", "expired", "unknown", "suppressed", "cancelled"]
RETRYABLE = tuple(DeliveryStatus(one) for one in get_args(Retryable))


def retryable(statuses: Sequence[str]) -> tuple[DeliveryStatus, ...]:
    """Each once. Raises `InvalidInput` naming those that can be retried."""
    allowed = ", ".join(RETRYABLE)
    if not statuses or not set(statuses) <= set(RETRYABLE):
        raise InvalidInput.of("status", f"found {', '.join(statuses) or 'none'}; allowed: {allowed}")
    return tuple(dict.fromkeys(DeliveryStatus(one) for one in statuses))


def begin(connection: Connection, campaign_id: int, statuses: Sequence[DeliveryStatus]) -> None:
    """Note what is to be done; the campaign is locked by the caller. A retry that is on its way takes it along."""
    going = retry_queries.retry_of(connection, campaign_id)
    if going is None:
        retry_queries.add_retry(connection, campaign_id, statuses)
        return
    # the first one again, too: rows below the cursor may have failed since
    again = [one for one in statuses if one not in going.statuses[1:]]
    retry_queries.change_retry(connection, campaign_id, [*going.statuses, *again], going.cursor)


def run(pace: Pace, campaign_id: int) -> int:
    """Queue rows again until there are no more, or the run has had its time; how many."""
    total = 0
    while not pace.over:
        with pace.slice() as connection:
            moved = _slice(connection, campaign_id, pace.size)
        if moved is None:
            break
        total += moved
    return total


def outstanding(connection: Connection, campaign_id: int) -> bool:
    return retry_queries.retry_of(connection, campaign_id) is not None


def _slice(connection: Connection, campaign_id: int, size: int) -> int | None:
    """How many rows; None where the retry is through."""
    campaign, retry = queries.lock(connection, campaign_id), retry_queries.retry_of(connection, campaign_id)
    if campaign is None or retry is None:
        return None
    if campaign.status == CampaignStatus.CANCELLED:
        retry_queries.drop_retry(connection, campaign_id)
        return None
    status, *rest = (DeliveryStatus(one) for one in retry.statuses)
    rows = queries.take_rows(connection, campaign_id, status, None, retry.cursor, size)
    if rows:
        reopen_finished(connection, campaign)
        move(connection, status, DeliveryStatus.QUEUED, rows)
        retry_queries.change_retry(connection, campaign_id, retry.statuses, rows[-1].id)
        return len(rows)
    if rest:
        retry_queries.change_retry(connection, campaign_id, rest, 0)
        return 0
    retry_queries.drop_retry(connection, campaign_id)
    return None


def reopen_finished(connection: Connection, campaign: AnyRow) -> None:
    """In the transaction of the rows' move, or a sweep between the two would find the campaign finished again."""
    if campaign.status == CampaignStatus.FINISHED:
        check_campaign_move(CampaignStatus.FINISHED, CampaignStatus.SENDING)
        values = {"status": CampaignStatus.SENDING, "reason": CampaignReason.NONE, "finished_at": None}
        queries.change(connection, campaign.id, values)
