"""A post opens its one campaign, is held where it should not go by itself, and may be taken back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from worker.campaigns import plan_queries, queries
from worker.campaigns.queries import AnyRow
from worker.campaigns.state import CANCELLABLE, NEVER, begun, cancel, reopen
from worker.domain.campaign import CampaignReason, CampaignStatus, check_campaign_move
from worker.domain.publication import Publication

_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class CampaignRules:
    """What a publication may send unasked; its own figures win over these."""

    per_hour: int
    max_age: timedelta | None


@dataclass(frozen=True, slots=True)
class Opened:
    """What came of it. After the commit: `ring` → `doorbell.plan(campaign_id)`, `tidy` → `doorbell.tidy(…)`."""

    campaign_id: int
    ring: bool
    note: str
    tidy: bool = False


def open_campaign(
    connection: Connection, rules: CampaignRules, publication: Publication, post_id: str,
    post: Mapping[str, object], list_slug: str, labels: Sequence[str], now: datetime,
) -> Opened:  # fmt: skip
    """The campaign of a published post, in the caller's transaction. One for each post, whatever the event's id."""
    # Counted and added in one turn: two posts at once must not both be the tenth of the hour.
    queries.serialise(connection, f"campaigns:{publication.slug}")
    reason = _hold(connection, rules, publication, post, now)
    content: dict[str, object] = {
        "post": dict(post), "list_slug": list_slug, "labels": list(labels),
        "plan_until": plan_queries.last_subscription(connection),
    }  # fmt: skip
    campaign_id = queries.add_campaign(connection, {
        "publication": publication.slug, "post_id": post_id, "created_at": now, **content, **_start(reason, now)
    })  # fmt: skip
    if campaign_id is None:
        return _again(connection, publication.slug, post_id, content, reason, now)
    return Opened(campaign_id, not reason, _note(campaign_id, reason))


def unpublish(connection: Connection, publication_slug: str, post_id: str, now: datetime) -> Opened | None:
    """Cancel the campaign of a post that was taken back, if it is still going. None: the post never had one.

    A failed one, too: a retry would send the rest of it.
    """
    campaign = queries.lock_by_post(connection, publication_slug, post_id)
    if campaign is None:
        return None
    if CampaignStatus(campaign.status) not in CANCELLABLE:
        return Opened(campaign.id, False, f"campaign {campaign.id} is {campaign.status} already")
    cancel(connection, campaign, CampaignReason.UNPUBLISHED)
    return Opened(campaign.id, False, f"campaign {campaign.id} is cancelled; what was sent stays sent", tidy=True)


def _hold(
    connection: Connection, rules: CampaignRules, publication: Publication, post: Mapping[str, object], now: datetime
) -> CampaignReason:
    """Why a new campaign of this post must wait for the operator; `NONE` where it may go."""
    hours = publication.post_max_age_hours
    max_age = rules.max_age if hours is None else timedelta(hours=hours)
    published = _published_at(post)
    if max_age is not None and published is not None and now - published > max_age:
        return CampaignReason.HELD_AGE
    own = publication.campaigns_per_hour
    released = queries.released_since(connection, publication.slug, now - _HOUR, NEVER)
    return CampaignReason.HELD_RATE if released >= (rules.per_hour if own is None else own) else CampaignReason.NONE


def _published_at(post: Mapping[str, object]) -> datetime | None:
    """Intake has checked the field; a time without a zone is read as UTC."""
    try:
        found = datetime.fromisoformat(str(post.get("published_at")))
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


def _start(reason: CampaignReason, now: datetime) -> dict[str, object]:
    status = CampaignStatus.PAUSED if reason else CampaignStatus.PLANNING
    return {"status": status, "reason": reason, "released_at": NEVER if reason else now}


def _note(campaign_id: int, reason: CampaignReason) -> str:
    if not reason:
        return f"campaign {campaign_id}"
    return f"campaign {campaign_id} is {reason}; `pressrun resume {campaign_id}` releases it"


def _again(
    connection: Connection, publication: str, post_id: str, content: Mapping[str, object], hold: CampaignReason,
    now: datetime,
) -> Opened:  # fmt: skip
    """The post was published before."""
    campaign = queries.lock_by_post(connection, publication, post_id)
    assert campaign is not None, "campaigns are never deleted"
    if campaign.reason == CampaignReason.DROPPED:
        # Who got it is not on record any more, so nobody may get it now.
        return Opened(campaign.id, False, f"this post had campaign {campaign.id}, whose deliveries were dropped")
    replaced = not begun(campaign) and campaign.status != CampaignStatus.PLANNING
    if replaced:
        # It stands still and nobody has got it: what is published now may be the mended post, or the right list.
        queries.change(connection, campaign.id, content)
    if campaign.status == CampaignStatus.CANCELLED and campaign.reason == CampaignReason.UNPUBLISHED:
        return _taken_up(connection, campaign, hold, now)
    if campaign.status == CampaignStatus.FAILED and replaced:
        _restart(connection, campaign, CampaignReason.NONE, now)
        return Opened(campaign.id, True, f"campaign {campaign.id} had failed and is tried again")
    instead = "; it has not begun, and takes the post as it is now" if replaced else ""
    already = f"this post already has campaign {campaign.id}, which is {campaign.status}{instead}"
    return Opened(campaign.id, False, already)


def _taken_up(connection: Connection, campaign: AnyRow, hold: CampaignReason, now: datetime) -> Opened:
    """A campaign whose post was taken back and is published again."""
    if hold and campaign.released_at >= NEVER:
        # Held when it was unpublished: publishing it again must not be the way around that.
        _restart(connection, campaign, hold, now)
        return Opened(campaign.id, False, _note(campaign.id, hold))
    if begun(campaign):
        reopen(connection, campaign, now)
        return Opened(campaign.id, True, f"campaign {campaign.id} goes on with what was not sent", tidy=True)
    _restart(connection, campaign, CampaignReason.NONE, now)
    return Opened(campaign.id, True, f"campaign {campaign.id} had not begun, and takes the post as it is now")


def _restart(connection: Connection, campaign: AnyRow, reason: CampaignReason, now: datetime) -> None:
    """As if it had just been made."""
    values = _start(reason, now)
    check_campaign_move(CampaignStatus(campaign.status), CampaignStatus(str(values["status"])))
    queries.change(connection, campaign.id, {**values, "finished_at": None})
