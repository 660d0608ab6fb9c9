"""One run: the bed is made, a campaign goes out, faults happen, everything comes to rest, the auditor comes."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import select

from tests.faults.suite.auditor import Finding, Verdict, audit
from tests.faults.suite.bed import Bed, made
from tests.faults.suite.books import Books, read_books
from tests.faults.suite.day import Day
from tests.faults.suite.faults import TABLE
from tests.faults.suite.life import life
from tests.faults.suite.rest import at_rest
from tests.faults.suite.schedule import Schedule, Step
from worker.storage.models import CampaignRow, DeliveryRow

# A step whose progress does not come (everything stands still) happens all the same.
_PATIENCE_SECONDS = 12.0
# Of each kind of finding so many are told in full.
_TOLD = 5


@dataclass
class Result:
    """`lines`: what was done, for people; `report`: findings with the lives of their deliveries."""

    schedule: Schedule
    verdict: Verdict
    statuses: Counter[str]
    received: int
    seconds: float
    books: Books
    lines: list[str] = field(default_factory=list)
    report: str = ""

    @property
    def good(self) -> bool:
        return not self.verdict.findings

    def record(self) -> dict[str, Any]:
        """One line of the results."""
        schedule = self.schedule
        return {
            "seed": schedule.seed, "database": schedule.setting.database, "readers": schedule.setting.readers,
            "faults": [one.name for one in schedule.faults], "good": self.good,
            "findings": Counter(one.kind for one in self.verdict.findings), "doubles": self.verdict.doubles,
            "statuses": self.statuses, "received": self.received, "seconds": round(self.seconds, 1),
        }  # fmt: skip


def run(schedule: Schedule, folder: Path) -> Result:
    """Raises only where the suite itself breaks."""
    began = time.monotonic()
    with made(schedule.setting, folder) as bed, ExitStack() as closing:
        day = Day(bed)
        closing.callback(day.close)
        try:
            _happen(bed, day, schedule)
        finally:
            bed.ending.set()
            bed.heal()
        day.end()
        rested = at_rest(bed)
        if schedule.setting.unknown == "hold":
            _release(bed)
            rested = at_rest(bed)
        return _audited(bed, schedule, [*day.troubles, *([] if rested else ["not at rest"])], began)


def _happen(bed: Bed, day: Day, schedule: Schedule) -> None:
    """The campaign, with two who act beside it: the faults, and the people."""
    day.begin()
    people = threading.Thread(target=_steps, args=(bed, schedule.acts, day.act, day.troubles), name="people")
    people.start()
    _steps(bed, schedule.faults, lambda step: TABLE[step.name].act(bed, random.Random(step.draw)), day.troubles)
    people.join()


def _steps(bed: Bed, steps: tuple[Step, ...], act: Callable[[Step], str], troubles: list[str]) -> None:
    for step in steps:
        until = time.monotonic() + _PATIENCE_SECONDS
        while bed.progress() < step.at and time.monotonic() < until:
            time.sleep(0.05)
        bed.history.say(f"{step.name} begins, at {bed.progress():.0%}")
        try:
            bed.history.say(act(step))
        except Exception as error:
            troubles.append(f"{step.name}: {error!r}")
            bed.history.say(f"{step.name} broke: {error!r}")


def _release(bed: Bed) -> None:
    """What was held as unknown is released by hand, but where the campaign was cancelled: there it stays."""
    with bed.house.database.read() as connection:
        held = connection.execute(
            select(DeliveryRow.id, DeliveryRow.campaign_id)
            .join(CampaignRow, CampaignRow.id == DeliveryRow.campaign_id)
            .where(DeliveryRow.status == "unknown", CampaignRow.status != "cancelled")
        ).all()
    if held:
        bed.history.released.update(dict.fromkeys((one.id for one in held), time.time()))
        bed.history.say(f"{len(held)} held as unknown, released")
    for campaign in {one.campaign_id for one in held}:
        bed.house.run("retry", str(campaign), "--status", "unknown")


def _audited(bed: Bed, schedule: Schedule, troubles: list[str], began: float) -> Result:
    inbox = list(bed.inbox.read())
    books = read_books(bed.history, bed.house.database, bed.house.settings, inbox)
    verdict = audit(books)
    verdict.findings += [Finding("trouble", one) for one in troubles]
    told: Counter[str] = Counter()
    report = [str(schedule), *bed.history.lines]
    for finding in verdict.findings:
        told[finding.kind] += 1
        if told[finding.kind] <= _TOLD:
            report.append(f"\n=== {finding.kind}: {finding.text}")
            if finding.delivery:
                report += life(bed, books, finding.delivery, inbox)
    statuses = Counter(one.status for one in books.deliveries)
    return Result(schedule, verdict, statuses, len(books.receipts), time.monotonic() - began, books, bed.history.lines,
                  "\n".join(report))  # fmt: skip

