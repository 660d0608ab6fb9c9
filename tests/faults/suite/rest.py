"""Waiting until all has come to rest, and knowing when it never will."""

from __future__ import annotations

import time

from sqlalchemy import and_, func, select

from tests.faults.suite.bed import Bed
from worker.domain.delivery import OPEN
from worker.domain.errors import TemporaryError
from worker.storage.models import CampaignRow, DeliveryRow, LeaseRow

# Longer than anything in a scaled-down system waits for: the hop's longest pause is 60 s.
_STILL_SECONDS = 75.0
_LONGEST_SECONDS = 300.0


def at_rest(bed: Bed) -> bool:
    """Whether nothing is under way any more. Given up when nothing has changed for long."""
    began = changed = time.monotonic()
    before: object = None
    while True:
        now = _state(bed)
        if now == (0, 0, 0):
            return True
        if now != before:
            before, changed = now, time.monotonic()
        waited = time.monotonic()
        if waited - changed > _STILL_SECONDS or waited - began > _LONGEST_SECONDS:
            bed.history.say(f"given up: {now} (open deliveries, leases, going campaigns)")
            return False
        time.sleep(0.1)


def _state(bed: Bed) -> tuple[int, int, int] | None:
    """(open deliveries, leases, going campaigns); None while the database does not answer."""
    going = ("planning", "sending", "paused")
    failed = select(CampaignRow.id).where(CampaignRow.status == "failed")
    try:
        with bed.house.database.read() as connection:
            count = select(func.count())
            # what a failed campaign has queued waits for somebody to mend it
            lying = and_(DeliveryRow.status == "queued", func.coalesce(DeliveryRow.campaign_id, 0).in_(failed))
            rows = count.select_from(DeliveryRow).where(DeliveryRow.status.in_(OPEN), ~lying)
            return (
                connection.execute(rows).scalar_one(),
                connection.execute(count.select_from(LeaseRow)).scalar_one(),
                connection.execute(count.select_from(CampaignRow).where(CampaignRow.status.in_(going))).scalar_one(),
            )
    except TemporaryError:
        return None
