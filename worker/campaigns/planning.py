"""Planning: a campaign's audience becomes deliveries, in slices, set by set inside the database.

A slice, its tally and the cursor are one transaction: whatever dies, the next planner goes on from the
cursor, and a slice planned twice would find its dedupe keys taken.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime

import structlog
from sqlalchemy import Connection

from worker.campaigns import plan_queries, queries
from worker.campaigns.pace import Pace, Sleep
from worker.campaigns.plan_queries import Audience, Groups
from worker.campaigns.queries import AnyRow
from worker.campaigns.turns import Slots
from worker.domain.campaign import CampaignReason, CampaignStatus, check_campaign_move
from worker.domain.clock import Clock
from worker.domain.delivery import DeliveryStatus, Reason
from worker.domain.doorbell import Doorbell
from worker.domain.errors import PermanentError
from worker.domain.publication import Publication
from worker.storage.database import Database
from worker.storage.moves import add_tallies

log = structlog.get_logger(__name__)

CompileCheck = Callable[[Publication, Mapping[str, object], str], None]
"""(publication, post, list) → nothing, or a `PermanentError` that names what is wrong with template or post."""


class Planner:
    """`groups`: the destinations of `shaping.toml` with their domains; the first that lists a domain has it."""

    def __init__(
        self, database: Database, clock: Clock, doorbell: Doorbell, publications: Mapping[str, Publication],
        groups: Groups, compile_check: CompileCheck, slots: Slots, sleep: Sleep = time.sleep,
    ) -> None:  # fmt: skip
        self._database = database
        self._clock = clock
        self._doorbell = doorbell
        self._publications = publications
        self._groups = groups
        self._compile_check = compile_check
        self._slots = slots
        self._sleep = sleep

    def run(self, campaign_id: int) -> None:
        """Plan for a few seconds, then ring for the rest. A campaign that is not being planned is left alone."""
        audience = self._audience(campaign_id)
        if audience is None:
            return
        pace = Pace(self._database, self._clock, self._sleep)
        left: int | None = None
        while True:
            with pace.slice() as connection:
                campaign = _planning(connection, campaign_id)
                # Somebody else moved the cursor: one planner is enough. Who moved it last finds it where it
                # was left, so one of two always stays.
                if campaign is None or left not in (None, campaign.plan_cursor):
                    return
                left = plan_slice(connection, campaign, audience, pace.size, self._clock.now())
            self._slots.wake()
            if left >= campaign.plan_until:
                return
            if pace.over:
                self._doorbell.plan(campaign_id)
                return

    def _audience(self, campaign_id: int) -> Audience | None:
        """Before the first slice: a mail that cannot be made fails the campaign before the first mail."""
        with self._database.read() as connection:
            campaign = queries.head(connection, campaign_id)
            if campaign is None or campaign.status != CampaignStatus.PLANNING:
                return None
            post = queries.post(connection, campaign_id) if campaign.plan_cursor == 0 else None
        fault = self._fault(campaign, post) if post is not None else ""
        if fault:
            self._fail(campaign_id, fault)
            return None
        return Audience(campaign, self._groups, sqlite_database=self._database.is_sqlite)

    def _fault(self, campaign: AnyRow, post: Mapping[str, object]) -> str:
        publication = self._publications.get(campaign.publication)
        if publication is None:
            return f"publication {campaign.publication}: no such file in config/publications; put it back and retry"
        try:
            self._compile_check(publication, post, campaign.list_slug)
        except PermanentError as error:
            return str(error) or CampaignReason.TEMPLATE
        return ""

    def _fail(self, campaign_id: int, why: str) -> None:
        with self._database.write() as connection:
            if _planning(connection, campaign_id) is None:
                return
            queries.change(connection, campaign_id, {"status": CampaignStatus.FAILED, "reason": why})
        log.error("campaign_failed", campaign=campaign_id, why=why)


def plan_slice(connection: Connection, campaign: AnyRow, audience: Audience, size: int, now: datetime) -> int:
    """Up to `size` readers after the cursor, with their tally; the new cursor. The last slice ends the planning."""
    until = audience.end(connection, campaign.plan_cursor, size)
    slice_id = plan_queries.add_slice(connection, campaign)
    n = audience.add_deliveries(connection, slice_id, campaign.plan_cursor, until, now)
    if n:
        add_tallies(connection, Counter({(slice_id, DeliveryStatus.QUEUED, Reason.NONE): n}))
    else:
        plan_queries.drop_slice(connection, slice_id)
    values: dict[str, object] = {"plan_cursor": until}
    if until >= campaign.plan_until:
        values |= _planned(connection, campaign, now)
    queries.change(connection, campaign.id, values)
    return until


def _planned(connection: Connection, campaign: AnyRow, now: datetime) -> dict[str, object]:
    """An audience of nobody is finished at once; otherwise the sweep finds the end."""
    anybody = queries.has_rows(connection, campaign.id, list(DeliveryStatus))
    status = CampaignStatus.SENDING if anybody else CampaignStatus.FINISHED
    check_campaign_move(CampaignStatus(campaign.status), status)
    # a reopened campaign's `finished_at` stays until its rows are put back
    return {"status": status, "planned_at": now, "finished_at": campaign.finished_at if anybody else now}


def _planning(connection: Connection, campaign_id: int) -> AnyRow | None:
    campaign = queries.lock(connection, campaign_id)
    return campaign if campaign is not None and campaign.status == CampaignStatus.PLANNING else None
