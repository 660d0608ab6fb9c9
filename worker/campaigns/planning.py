"""Planning: a campaign's audience becomes deliveries, in slices, set by set inside the database.

A slice, its tally and the cursor are one transaction: whatever dies, the next planner goes on from the
cursor, and a slice planned twice would find its dedupe keys taken.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime

import structlog
from sqlalchemy import Connection

from worker.campaigns import plan_queries, queries
from worker.campaigns.pace import Pace, Sleep
from worker.campaigns.plan_queries import Audience, Groups
from worker.campaigns.queries import AnyRow
from worker.campaigns.state import begun
from worker.campaigns.turns import Slots
from worker.domain.campaign import CampaignReason, CampaignStatus, check_campaign_move
from worker.domain.clock import Clock
from worker.domain.delivery import DeliveryStatus, Reason
from worker.domain.doorbell import Doorbell
from worker.domain.errors import PermanentError
from worker.domain.publication import Publication
from worker.storage import turnstile
from worker.storage.database import Database
from worker.storage.moves import add_tallies

log = structlog.get_logger(__name__)

CompileCheck = Callable[[Publication, Mapping[str, object], str], None]
"""(publication, post, list) → nothing, or a `PermanentError` that names what is wrong with template or post."""


class _Overtaken(Exception):
    """The campaign is not being planned any more, or by another planner: nothing is kept of the slice."""


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
        cursor: int | None = None
        with suppress(_Overtaken):
            while cursor is None or cursor < audience.until:
                first = cursor is None
                with pace.slice() as connection:
                    cursor = self._slice(connection, campaign_id, audience, pace.size, cursor)
                # The first rows are there to be sent; who finds nothing queued meanwhile is woken at the end.
                if first or pace.over or cursor >= audience.until:
                    self._slots.wake()
                if pace.over and cursor < audience.until:
                    self._doorbell.plan(campaign_id)
                    return

    def _slice(
        self, connection: Connection, campaign_id: int, audience: Audience, size: int, left: int | None
    ) -> int:
        """The new cursor. Raises `_Overtaken`."""
        queries.serialise(connection, f"plan:{campaign_id}")
        turnstile.plans(connection)
        campaign = _kept_until_begun(connection, campaign_id)
        if campaign is None or campaign.status != CampaignStatus.PLANNING or not audience.is_of(campaign):
            raise _Overtaken
        # Somebody else moved the cursor: one planner is enough. Who moved it last finds it where it was left, so one
        # of two always stays.
        if left not in (None, campaign.plan_cursor):
            raise _Overtaken
        return plan_slice(connection, campaign, audience, size, self._clock.now())

    def _audience(self, campaign_id: int) -> Audience | None:
        """Before the first slice: a mail that cannot be made fails the campaign before the first mail."""
        with self._database.read() as connection:
            campaign = queries.head(connection, campaign_id)
            if campaign is None or campaign.status != CampaignStatus.PLANNING:
                return None
            post = queries.post(connection, campaign_id) if campaign.plan_cursor == 0 else None
        fault = self._fault(campaign, post) if post is not None else ""
        if fault:
            self._fail(campaign_id, post, fault)
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

    def _fail(self, campaign_id: int, post: Mapping[str, object] | None, why: str) -> None:
        """For this post; one that was published in its place meanwhile is looked at by the planner it rang for."""
        with self._database.write() as connection:
            if _planning(connection, campaign_id) is None or queries.post(connection, campaign_id) != post:
                return
            queries.change(connection, campaign_id, {"status": CampaignStatus.FAILED, "reason": why})
        log.error("campaign_failed", campaign=campaign_id, why=why)


def plan_slice(connection: Connection, campaign: AnyRow, audience: Audience, size: int, now: datetime) -> int:
    """Up to `size` readers after the cursor, with their tally; the new cursor. The last slice ends the planning.

    The campaign's row comes last: who takes a turn for it or pauses it waits for a moment, not for the slice. Before
    the first slice there are no turns to take.
    """
    until = audience.end(connection, campaign.plan_cursor, size)
    slice_id = plan_queries.add_slice(connection, campaign, now)
    added = audience.add_deliveries(connection, slice_id, campaign.plan_cursor, until, now)
    if added.n:
        plan_queries.close_slice(connection, slice_id, added)
        add_tallies(connection, Counter({(slice_id, DeliveryStatus.QUEUED, Reason.NONE): added.n}))
    else:
        plan_queries.drop_slice(connection, slice_id)
    end = _planned(connection, campaign, now) if until >= audience.until else {}
    if not queries.advance(connection, campaign.id, until, end):
        raise _Overtaken
    return until


def _planned(connection: Connection, campaign: AnyRow, now: datetime) -> dict[str, object]:
    """An audience of nobody is finished at once; otherwise the sweep finds the end."""
    anybody = queries.has_rows(connection, campaign.id, list(DeliveryStatus))
    status = CampaignStatus.SENDING if anybody else CampaignStatus.FINISHED
    check_campaign_move(CampaignStatus(campaign.status), status)
    # a reopened campaign's `finished_at` stays until its rows are put back
    return {"status": status, "planned_at": now} | ({} if anybody else {"finished_at": now})


def _kept_until_begun(connection: Connection, campaign_id: int) -> AnyRow | None:
    """The campaign. Before its first slice its post, published again, may change whom it goes to: either that has
    happened and has rung for a planner that knows, or it waits for us and finds the campaign begun.
    """
    campaign = queries.head(connection, campaign_id)
    return campaign if campaign is None or begun(campaign) else queries.lock(connection, campaign_id)


def _planning(connection: Connection, campaign_id: int) -> AnyRow | None:
    campaign = queries.lock(connection, campaign_id)
    return campaign if campaign is not None and campaign.status == CampaignStatus.PLANNING else None
