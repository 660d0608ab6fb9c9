"""A delivery: one message for one recipient, and the one table of the moves its status may make."""

from __future__ import annotations

from enum import StrEnum

from worker.domain.errors import IllegalMove


class Kind(StrEnum):
    """What a delivery carries; also the template folder it is rendered from (`test` uses `new_post`)."""

    NEW_POST = "new_post"
    CONFIRMATION = "confirmation"
    ALREADY_SUBSCRIBED = "already_subscribed"
    WELCOME = "welcome"
    TEST = "test"


class DeliveryStatus(StrEnum):
    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    DELIVERED = "delivered"
    DEFERRED = "deferred"
    BOUNCED = "bounced"
    COMPLAINED = "complained"
    FAILED = "failed"
    UNKNOWN = "unknown"
    SUPPRESSED = "suppressed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class Reason(StrEnum):
    """Why a delivery is where it is. `NONE` for those that simply go their way."""

    NONE = ""
    # held back by the claim's checks
    UNSUBSCRIBED = "unsubscribed"
    SUPPRESSED_ADDRESS = "suppressed_address"
    ERASED = "erased"
    CAMPAIGN_CANCELLED = "campaign_cancelled"
    EXPIRED = "expired"
    # what a reply or the line said
    TEMPORARY_REPLY = "temporary_reply"
    THROTTLED = "throttled"
    CONNECTION_FAILED = "connection_failed"
    UNKNOWN_OUTCOME = "unknown_outcome"
    MAILBOX_FULL = "mailbox_full"
    BAD_ADDRESS = "bad_address"
    OUR_FAULT = "our_fault"
    SMTPUTF8_UNAVAILABLE = "smtputf8_unavailable"
    TEMPLATE_FAULT = "template_fault"
    # what came back later
    HARD_BOUNCE = "hard_bounce"
    COMPLAINT = "complaint"


OPEN = frozenset({DeliveryStatus.QUEUED, DeliveryStatus.SENDING, DeliveryStatus.DEFERRED})
"""A campaign is finished when none of its deliveries has one of these."""

_S = DeliveryStatus

TRANSITIONS: dict[DeliveryStatus, frozenset[DeliveryStatus]] = {
    _S.QUEUED: frozenset({_S.SENDING, _S.SUPPRESSED, _S.CANCELLED, _S.EXPIRED, _S.FAILED}),
    # back to queued: claimed but never started (a stop, a dead owner, a wait that grew too long)
    _S.SENDING: frozenset(
        {_S.QUEUED, _S.SENT, _S.DEFERRED, _S.BOUNCED, _S.FAILED, _S.UNKNOWN, _S.EXPIRED, _S.CANCELLED,
         _S.SUPPRESSED}
    ),
    _S.DEFERRED: frozenset({_S.QUEUED, _S.SUPPRESSED, _S.CANCELLED, _S.EXPIRED, _S.FAILED}),
    _S.SENT: frozenset({_S.DELIVERED, _S.BOUNCED, _S.COMPLAINED}),
    # a reader may complain about what was delivered; a relay may report a bounce after "delivered"
    _S.DELIVERED: frozenset({_S.COMPLAINED, _S.BOUNCED}),
    # an operator's retry
    _S.FAILED: frozenset({_S.QUEUED}),
    _S.UNKNOWN: frozenset({_S.QUEUED, _S.SENT, _S.DELIVERED, _S.BOUNCED, _S.COMPLAINED}),
    _S.EXPIRED: frozenset({_S.QUEUED}),
    # a post published again resumes what was not sent; a retry gives a bounced address another chance
    _S.CANCELLED: frozenset({_S.QUEUED}),
    _S.BOUNCED: frozenset({_S.QUEUED}),
    _S.SUPPRESSED: frozenset({_S.QUEUED}),
    _S.COMPLAINED: frozenset(),
}


def check_move(old: DeliveryStatus, new: DeliveryStatus) -> None:
    """Raise `IllegalMove` unless `old → new` is in the table."""
    if new not in TRANSITIONS[old]:
        raise IllegalMove(f"a delivery cannot go from {old} to {new}")
