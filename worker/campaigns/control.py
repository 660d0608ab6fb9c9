"""What an operator may do to a campaign. It takes effect at once, since every claim looks at its status; the
rows follow in slices."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

from sqlalchemy import Connection

from worker.campaigns import queries, retrying
from worker.campaigns.moving import haul, outstanding, settle
from worker.campaigns.pace import Pace, Sleep
from worker.campaigns.queries import AnyRow
from worker.campaigns.state import CANCELLABLE, cancel, open_status, released, reopen
from worker.campaigns.turns import Slots
from worker.domain.campaign import GOING, CampaignReason, CampaignStatus, check_campaign_move
from worker.domain.clock import Clock
from worker.domain.delivery import DeliveryStatus
from worker.domain.doorbell import Doorbell
from worker.domain.errors import Conflict, NotFound
from worker.storage.database import Database

_S = CampaignStatus

Act = Callable[[int], None]

# What may be done, for the error of who tried something else.
_ALLOWED: dict[CampaignStatus, str] = {
    _S.PLANNING: "pause, cancel or retry",
    _S.SENDING: "pause, cancel or retry",
    _S.PAUSED: "resume, cancel or retry",
    _S.FINISHED: "retry",
    _S.CANCELLED: "retry --status cancelled",
    _S.FAILED: "retry or cancel",
}


class Control:
    """Each method on one campaign raises `NotFound`, or `Conflict` with what is allowed instead."""

    def __init__(
        self, database: Database, clock: Clock, doorbell: Doorbell, slots: Slots, sleep: Sleep = time.sleep
    ) -> None:
        self._database = database
        self._clock = clock
        self._doorbell = doorbell
        self._slots = slots
        self._sleep = sleep

    # -- one campaign

    def pause(self, campaign_id: int) -> None:
        """Nothing of it is claimed from now on; conversations that are open finish."""
        with self._database.write() as connection:
            campaign = _allowed(connection, campaign_id, GOING, "paused")
            values = {"status": _S.PAUSED, "reason": CampaignReason.OPERATOR}
            queries.change(connection, campaign.id, values)

    def resume(self, campaign_id: int) -> None:
        """Go on. A held campaign is released by it, and counts against its publication's hour from now."""
        now = self._clock.now()
        with self._database.write() as connection:
            campaign = _allowed(connection, campaign_id, {_S.PAUSED}, "resumed")
            status = open_status(campaign)
            check_campaign_move(_S.PAUSED, status)
            values = {"status": status, "reason": CampaignReason.NONE, **released(campaign, now)}
            queries.change(connection, campaign.id, values)
        self._go_on(campaign_id, status)

    def cancel(self, campaign_id: int) -> None:
        """Nothing of it is claimed from now on; what is not sent ends as cancelled."""
        with self._database.write() as connection:
            campaign = _allowed(connection, campaign_id, CANCELLABLE, "cancelled")
            cancel(connection, campaign, CampaignReason.OPERATOR)
        self._doorbell.tidy(campaign_id)

    def retry(self, campaign_id: int, statuses: Sequence[str] = (DeliveryStatus.FAILED,)) -> int:
        """Send again to those that ended with one of these statuses; how many so far. Raises `InvalidInput` too.

        It takes 3 s at most; where there are more rows than that, the tidy task or `finish_retry` does the rest.
        """
        chosen = retrying.retryable(statuses)
        with self._database.write() as connection:
            self._reopen_for(connection, campaign_id, chosen)
            retrying.begin(connection, campaign_id, chosen)
        moved = self.tidy(campaign_id)
        with self._database.read() as connection:
            campaign = queries.head(connection, campaign_id)
        if campaign is not None and campaign.status == _S.PLANNING:
            self._doorbell.plan(campaign_id)
        return moved

    def finish_retry(self, campaign_id: int) -> int:
        """Do the rest of it here, however long it takes; how many."""
        total = 0
        while self._is_retried(campaign_id):
            total += self.tidy(campaign_id)
        return total

    def _is_retried(self, campaign_id: int) -> bool:
        with self._database.read() as connection:
            return retrying.outstanding(connection, campaign_id)

    # -- all campaigns

    def pause_all(self) -> list[int]:
        """Every campaign that is going; their ids."""
        return self._each(GOING, None, self.pause)

    def resume_all(self) -> list[int]:
        """Every campaign an operator paused. What is held stays held: an imported archive is released one by one."""
        return self._each({_S.PAUSED}, CampaignReason.OPERATOR, self.resume)

    def cancel_all(self) -> list[int]:
        """Every campaign that is going, paused or failed, held ones too."""
        return self._each(CANCELLABLE, None, self.cancel)

    def _each(self, statuses: Collection[CampaignStatus], reason: str | None, act: Act) -> list[int]:
        with self._database.read() as connection:
            ids = queries.ids_with_status(connection, statuses, reason)
        done = []
        for campaign_id in ids:
            # one that ended meanwhile needs nothing any more
            with suppress(Conflict):
                act(campaign_id)
                done.append(campaign_id)
        return done

    def _go_on(self, campaign_id: int, status: CampaignStatus) -> None:
        if status is _S.PLANNING:
            self._doorbell.plan(campaign_id)
        elif status is _S.SENDING:
            self._slots.wake()

    # -- moving the rows

    def tidy(self, campaign_id: int) -> int:
        """Move the rows of a cancelled, reopened or retried campaign to where they should be; how many.

        Rings for itself after 3 s.
        """
        with self._database.read() as connection:
            campaign = queries.head(connection, campaign_id)
        hauls = outstanding(campaign) if campaign is not None else ()
        if not hauls and not self._is_retried(campaign_id):
            return 0
        pace = Pace(self._database, self._clock, self._sleep)
        total = retrying.run(pace, campaign_id)
        for job in hauls:
            total += haul(pace, campaign_id, job, lambda _, now_campaign: outstanding(now_campaign) == hauls)
        if pace.over:
            self._doorbell.tidy(campaign_id)
        else:
            with self._database.write() as connection:
                settle(connection, campaign_id, self._clock.now())
        self._slots.wake()
        return total

    def _reopen_for(self, connection: Connection, campaign_id: int, chosen: Sequence[DeliveryStatus]) -> None:
        campaign = _found(connection, campaign_id)
        status = _S(campaign.status)
        if campaign.reason == CampaignReason.DROPPED:
            raise Conflict(f"the deliveries of campaign {campaign_id} were dropped: there is nothing to retry")
        if status is _S.CANCELLED:
            if DeliveryStatus.CANCELLED not in chosen:
                raise _conflict(campaign, "retried for these")
            reopen(connection, campaign, self._clock.now())
        elif status is _S.FAILED:
            # Planning looks at template and post again, if nothing has been planned.
            check_campaign_move(status, _S.PLANNING)
            queries.change(connection, campaign_id, {"status": _S.PLANNING, "reason": CampaignReason.NONE})


def _found(connection: Connection, campaign_id: int) -> AnyRow:
    campaign = queries.lock(connection, campaign_id)
    if campaign is None:
        raise NotFound(f"there is no campaign {campaign_id}")
    return campaign


def _allowed(connection: Connection, campaign_id: int, states: Collection[CampaignStatus], what: str) -> AnyRow:
    campaign = _found(connection, campaign_id)
    if _S(campaign.status) not in states:
        raise _conflict(campaign, what)
    return campaign


def _conflict(campaign: AnyRow, what: str) -> Conflict:
    status = _S(campaign.status)
    return Conflict(f"campaign {campaign.id} is {status}, it cannot be {what}; allowed: {_ALLOWED[status]}")
