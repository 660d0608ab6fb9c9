"""One delivery at a time, and transactional mail: sent again, or considered sent, by an operator's hand.

Nothing is doubled by it: a delivery keeps its `dedupe_key` and its id, and so its Message-ID; what was tried stays on
record.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from worker.campaigns import queries, retry_queries
from worker.campaigns.moving import Haul, haul, move
from worker.campaigns.pace import TASK_SECONDS, Pace, Sleep
from worker.campaigns.queries import AnyRow
from worker.campaigns.retrying import RETRYABLE, reopen_finished, retryable
from worker.campaigns.turns import Slots
from worker.domain.campaign import CampaignReason, CampaignStatus
from worker.domain.clock import Clock
from worker.domain.delivery import DeliveryStatus
from worker.domain.doorbell import Doorbell
from worker.domain.errors import Conflict, NotFound
from worker.storage.database import Database

_CONSIDER = Haul(DeliveryStatus.UNKNOWN, DeliveryStatus.SENT)
# Why a campaign's delivery cannot go again by itself, and what can be done instead.
_NOT_NOW = {
    CampaignStatus.CANCELLED: "is cancelled; `pressrun retry {} --status cancelled` takes it up again",
    CampaignStatus.FAILED: "has failed; mend what its reason names, then `pressrun retry {}`",
}


@dataclass(frozen=True, slots=True)
class Replayed:
    """`n` rows so far. `more`: there was no time for the rest; `worthless`: left alone, since their link is over."""

    n: int
    more: bool
    worthless: int = 0


class Replay:
    """Each method on one delivery raises `NotFound`, or `Conflict` with what is allowed instead."""

    def __init__(
        self, database: Database, clock: Clock, doorbell: Doorbell, slots: Slots, sleep: Sleep = time.sleep
    ) -> None:
        self._database = database
        self._clock = clock
        self._doorbell = doorbell
        self._slots = slots
        self._sleep = sleep

    def again(self, delivery_id: int) -> None:
        """Send one delivery again, with a new count of attempts and a new lifetime."""
        with self._database.write() as connection:
            campaign, row = _locked(connection, delivery_id)
            status = DeliveryStatus(row.status)
            if status not in RETRYABLE:
                allowed = ", ".join(RETRYABLE)
                raise Conflict(f"delivery {delivery_id} is {status}; what can be sent again: {allowed}")
            if _over(row, self._clock.now()):
                raise Conflict(f"delivery {delivery_id}: the link in it is over; the reader has to sign up again")
            if campaign is not None:
                _require_open(campaign)
                reopen_finished(connection, campaign)
            move(connection, status, DeliveryStatus.QUEUED, [row])
        if campaign is None:
            self._doorbell.transactional(delivery_id)
        elif campaign.status != CampaignStatus.PAUSED:
            self._slots.wake()

    def consider_sent(self, delivery_id: int) -> None:
        """An unknown outcome is known after all: the relay's log says that it went out."""
        with self._database.write() as connection:
            _, row = _locked(connection, delivery_id)
            if row.status != DeliveryStatus.UNKNOWN:
                raise Conflict(f"delivery {delivery_id} is {row.status}; only what is unknown can be considered sent")
            move(connection, DeliveryStatus.UNKNOWN, DeliveryStatus.SENT, [row])

    def consider_campaign_sent(self, campaign_id: int, seconds: float = TASK_SECONDS) -> Replayed:
        """The same for all of a campaign."""
        with self._database.read() as connection:
            if queries.head(connection, campaign_id) is None:
                raise NotFound(f"there is no campaign {campaign_id}")
        pace = Pace(self._database, self._clock, self._sleep, seconds=seconds)
        n = haul(pace, campaign_id, _CONSIDER, lambda *_: True)
        return Replayed(n, pace.over)

    def transactional(
        self, statuses: Sequence[str], publication: str | None = None, seconds: float = TASK_SECONDS
    ) -> Replayed:
        """Send transactional mail again that ended with one of these statuses. Raises `InvalidInput`.

        A confirmation whose link is over stays where it is. Each row is looked at once: one that fails again
        meanwhile is not taken twice.
        """
        pace = Pace(self._database, self._clock, self._sleep, seconds=seconds)
        chosen = retryable(statuses)
        total = worthless = 0
        for status in chosen:
            after: int | None = 0
            while after is not None and not pace.over:
                moved, over, after = self._transactional_slice(pace, status, publication, after)
                total, worthless = total + moved, worthless + over
        return Replayed(total, pace.over, worthless)

    def _transactional_slice(
        self, pace: Pace, status: DeliveryStatus, publication: str | None, after: int
    ) -> tuple[int, int, int | None]:
        """Moved; left alone; and the last id, None where there are no more."""
        with pace.slice() as connection:
            rows = retry_queries.take_transactional(connection, status, publication, after, pace.size)
            good = [row for row in rows if not _over(row, self._clock.now())]
            if good:
                move(connection, status, DeliveryStatus.QUEUED, good)
        if good:
            self._doorbell.transactional(good[0].id)
        return len(good), len(rows) - len(good), rows[-1].id if rows else None


def _over(row: AnyRow, now: datetime) -> bool:
    return row.expires_at is not None and row.expires_at <= now


def _locked(connection: Connection, delivery_id: int) -> tuple[AnyRow | None, AnyRow]:
    """The delivery's campaign, if it has one, and the delivery, both kept still."""
    found = retry_queries.campaign_of(connection, delivery_id)
    if found is None:
        raise NotFound(f"there is no delivery {delivery_id}")
    campaign = None if found.campaign_id is None else queries.lock(connection, found.campaign_id)
    return campaign, retry_queries.lock_delivery(connection, delivery_id)


def _require_open(campaign: AnyRow) -> None:
    if campaign.reason == CampaignReason.DROPPED:
        raise Conflict(f"campaign {campaign.id} is over, and its deliveries are being dropped")
    why = _NOT_NOW.get(CampaignStatus(campaign.status))
    if why is not None:
        raise Conflict(f"campaign {campaign.id} {why.format(campaign.id)}")
