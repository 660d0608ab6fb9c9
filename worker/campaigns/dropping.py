"""A campaign that is over gives up its deliveries: what became of them stays in its counts.

With them go their dedupe keys. So the campaign is closed before the first row goes: it counts as planned to its end,
and neither its post published again nor a retry opens it, or it would write again to whom it has written.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection

from worker.campaigns import drop_queries, queries, retrying
from worker.campaigns.pace import TASK_SECONDS, Pace, Sleep
from worker.campaigns.queries import AnyRow
from worker.campaigns.state import is_at_rest
from worker.domain.campaign import CampaignReason
from worker.domain.clock import Clock
from worker.domain.doorbell import Doorbell
from worker.domain.errors import Conflict, NotFound
from worker.storage.database import Database

log = structlog.get_logger(__name__)

Told = Callable[[int], None]
"""Told after each slice how many are gone so far."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What would go. `deliveries`: so many at most."""

    campaign_id: int
    publication: str
    post_id: str
    status: str
    finished_at: datetime
    deliveries: int


class Dropper:
    """`retention`: how long after its end a campaign's deliveries are kept."""

    def __init__(
        self, database: Database, clock: Clock, doorbell: Doorbell, retention: timedelta, sleep: Sleep = time.sleep
    ) -> None:
        self._database = database
        self._clock = clock
        self._doorbell = doorbell
        self._retention = retention
        self._sleep = sleep

    def outlook(self, campaign_id: int) -> Outlook:
        """Raises `NotFound`, or `Conflict` for a campaign that is not over."""
        with self._database.read() as connection:
            campaign = _over(connection, queries.head(connection, campaign_id), campaign_id)
            n = drop_queries.left(connection, campaign_id)
        return Outlook(
            campaign.id, campaign.publication, campaign.post_id, campaign.status, campaign.finished_at, n
        )

    def drop(self, campaign_id: int, told: Told = lambda _: None) -> int:
        """All of them, however long it takes; how many. Cut short, it can be called again. Raises as `outlook`."""
        pace = Pace(self._database, self._clock, self._sleep, seconds=math.inf, gentle=True)
        total = self._drop(pace, campaign_id, told)
        log.info("deliveries_dropped", campaign=campaign_id, n=total)
        return total

    def run(self, campaign_id: int) -> None:
        """The same for a few seconds; then it rings for the rest, or for the next campaign that is old enough."""
        pace = Pace(self._database, self._clock, self._sleep, seconds=TASK_SECONDS, gentle=True)
        # one that was opened again since it was rung for keeps what it has
        with suppress(Conflict):
            total = self._drop(pace, campaign_id, lambda _: None)
            log.info("deliveries_dropped", campaign=campaign_id, n=total)
        self.ring()

    def ring(self) -> int:
        """Ring for the campaign whose deliveries have been kept for longest, if it is long enough; how many."""
        with self._database.read() as connection:
            found = drop_queries.oldest(connection, self._clock.now() - self._retention)
        if found is None:
            return 0
        self._doorbell.drop(found)
        return 1

    def _drop(self, pace: Pace, campaign_id: int, told: Told) -> int:
        with self._database.write() as connection:
            campaign = _over(connection, queries.lock(connection, campaign_id), campaign_id)
            _close(connection, campaign, self._clock.now())
        total = 0
        while not pace.over:
            with pace.slice() as connection:
                _over(connection, queries.lock(connection, campaign_id), campaign_id)
                span = drop_queries.next_span(connection, campaign_id)
                if span is None:
                    break
                total += drop_queries.drop_rows(connection, span, pace.size)
            told(total)
        return total


def _close(connection: Connection, campaign: AnyRow, now: datetime) -> None:
    values = {
        "reason": CampaignReason.DROPPED, "plan_cursor": campaign.plan_until, "planned_at": campaign.planned_at or now
    }  # fmt: skip
    queries.change(connection, campaign.id, values)


def _over(connection: Connection, campaign: AnyRow | None, campaign_id: int) -> AnyRow:
    if campaign is None:
        raise NotFound(f"there is no campaign {campaign_id}")
    if retrying.outstanding(connection, campaign_id):
        raise Conflict(f"campaign {campaign_id} is being retried; its deliveries can be dropped when that is done")
    if not is_at_rest(campaign):
        raise Conflict(
            f"campaign {campaign_id} is {campaign.status} and may still need its deliveries; they can be dropped when "
            "it is finished, or cancelled and all its rows with it"
        )
    return campaign
