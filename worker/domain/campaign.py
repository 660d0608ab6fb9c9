"""A campaign: one post going out to one audience."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

from worker.domain.errors import IllegalMove


class CampaignStatus(StrEnum):
    PLANNING = "planning"
    SENDING = "sending"
    PAUSED = "paused"
    FINISHED = "finished"
    CANCELLED = "cancelled"
    FAILED = "failed"


class CampaignReason(StrEnum):
    """Why a campaign stands still."""

    NONE = ""
    OPERATOR = "operator"
    HELD_RATE = "held: too many campaigns of this publication in an hour"
    HELD_AGE = "held: the post is older than the publication's age limit"
    UNPUBLISHED = "unpublished"
    TEMPLATE = "template"
    DROPPED = "over: its deliveries were dropped"


GOING = frozenset({CampaignStatus.PLANNING, CampaignStatus.SENDING})
"""Only these have their deliveries claimed."""

# However long a campaign's limits say there is no use in a turn: other rows of it, under other limits, may
# become due at any time.
LONGEST_REST = timedelta(seconds=5)


def resting_beyond(now: datetime) -> datetime:
    """Who rests beyond this moment waits for the next day of a warm-up, and is not late: no limit rests as long."""
    return now + LONGEST_REST


_C = CampaignStatus

CAMPAIGN_TRANSITIONS: dict[CampaignStatus, frozenset[CampaignStatus]] = {
    _C.PLANNING: frozenset({_C.SENDING, _C.PAUSED, _C.FINISHED, _C.CANCELLED, _C.FAILED}),
    _C.SENDING: frozenset({_C.PAUSED, _C.FINISHED, _C.CANCELLED, _C.FAILED}),
    # resume goes back to planning while rows are still to be planned
    _C.PAUSED: frozenset({_C.PLANNING, _C.SENDING, _C.CANCELLED, _C.FINISHED}),
    # a retry, or a post published again, reopens it
    _C.FINISHED: frozenset({_C.SENDING}),
    # a held post, unpublished and published again, is held again
    _C.CANCELLED: frozenset({_C.PLANNING, _C.SENDING, _C.PAUSED}),
    # a retry, or a mended post, plans it again; a cancel, or its post unpublished, ends what of it is still queued
    _C.FAILED: frozenset({_C.PLANNING, _C.CANCELLED}),
}


def check_campaign_move(old: CampaignStatus, new: CampaignStatus) -> None:
    """Raise `IllegalMove` unless `old → new` is in the table."""
    if new not in CAMPAIGN_TRANSITIONS[old]:
        raise IllegalMove(f"a campaign that is {old} cannot become {new}")
