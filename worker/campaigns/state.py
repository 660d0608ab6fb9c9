"""The moves of a campaign that a publisher and an operator share."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Connection

from worker.campaigns import queries
from worker.campaigns.queries import AnyRow
from worker.domain.campaign import CampaignReason, CampaignStatus, check_campaign_move

# "Released" for a campaign that is held: later than any clock, and safe to convert to any time zone.
NEVER = datetime(9000, 1, 1, tzinfo=UTC)

OPEN_CAMPAIGN = frozenset({CampaignStatus.PLANNING, CampaignStatus.SENDING, CampaignStatus.PAUSED})
CANCELLABLE = OPEN_CAMPAIGN | {CampaignStatus.FAILED}
AT_REST = frozenset({CampaignStatus.FINISHED, CampaignStatus.CANCELLED})


def open_status(campaign: AnyRow) -> CampaignStatus:
    """Where an open campaign goes on: rows that are still to be planned come first."""
    return CampaignStatus.PLANNING if campaign.planned_at is None else CampaignStatus.SENDING


def begun(campaign: AnyRow) -> bool:
    """Whether it may have deliveries."""
    return bool(campaign.plan_cursor) or campaign.planned_at is not None


def is_at_rest(campaign: AnyRow) -> bool:
    """Over, with all its rows where they stay: a cancelled one has no time of its end before."""
    return campaign.status in AT_REST and campaign.finished_at is not None


def released(campaign: AnyRow, now: datetime) -> dict[str, object]:
    """What to write where a campaign may go: a held one counts against its hour from now on."""
    return {"released_at": now} if campaign.released_at >= NEVER else {}


def cancel(connection: Connection, campaign: AnyRow, reason: CampaignReason) -> None:
    """From here on nothing of it is claimed; without `finished_at` its rows are still to be moved (`tidy`)."""
    check_campaign_move(CampaignStatus(campaign.status), CampaignStatus.CANCELLED)
    values = {"status": CampaignStatus.CANCELLED, "reason": reason, "finished_at": None}
    queries.change(connection, campaign.id, values)


def reopen(connection: Connection, campaign: AnyRow, now: datetime) -> None:
    """A cancelled campaign goes on with what was not sent. `finished_at` stays until its rows are put back."""
    status = open_status(campaign)
    check_campaign_move(CampaignStatus(campaign.status), status)
    at_rest = (campaign.finished_at or now) if begun(campaign) else None
    values = {"status": status, "reason": CampaignReason.NONE, "finished_at": at_rest}
    queries.change(connection, campaign.id, {**values, **released(campaign, now)})
