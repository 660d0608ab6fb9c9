"""Warm-ups, as `pressrun status` and `pressrun check` show them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from typing import Any

from worker.cli.findings import Finding
from worker.cli.output import number
from worker.domain.warmup import Warmup, Warmups, jumps, warmups_of
from worker.publications import load_publications
from worker.settings import Settings


def configured(settings: Settings) -> Warmups:
    """As `System.warmups`, which this does without. Raises `ConfigurationError`."""
    publications = load_publications(settings.config_dir, os.environ)
    return warmups_of(publications.values(), settings.warmup_schedule, settings.transactional_share)


def warmup_lines(seen: list[Mapping[str, Any]] | None) -> Iterator[str]:
    """One line for each object of `warmup_glance_queries.warmups`; None: the publications cannot be read."""
    if seen is None:
        yield "Warm-ups are not known: the publications cannot be read; `pressrun check` says why."
    for one in seen or ():
        used = f"{one['used']:,} of {number(one['allowance'], 'mail')} used"
        yield f"warm-up of {one['domain']}: {_day(one)}, {used}{_rest(one)}"


def _day(one: Mapping[str, Any]) -> str:
    return f"day {one['day']} of {one['days']}" if one["day"] > 0 else f"starts in {number(1 - one['day'], 'day')}"


def _rest(one: Mapping[str, Any]) -> str:
    if not one["waiting"]:
        return ""
    goes_on = datetime.fromisoformat(one["next_at"])
    last = f"the last on {one['last_on']}" if one["last_on"] else "the last in more than a year"
    return f"; {number(one['waiting'], 'mail')} more from {goes_on:%Y-%m-%d %H:%M} UTC, {last}"


def warmup_findings(warmups: Warmups, today: date) -> Iterator[Finding]:
    """One for each domain, with what there is to say about its schedule."""
    for warmup in dict.fromkeys(warmups.values()):
        yield Finding(True, f"warm-up of {warmup.domain}", f"{_stands(warmup, today)}{_advice(warmup)}")


def _stands(warmup: Warmup, today: date) -> str:
    allowance = warmup.allowance(today)
    if allowance is None:
        return "over; [warmup] may go from its publication's file"
    day = max(1, warmup.day(today))
    until = "" if warmup.day(today) > 0 else f", from {warmup.start} on more"
    return f"day {day} of {len(warmup.schedule)}, {number(allowance, 'mail')}{until}"


def _advice(warmup: Warmup) -> str:
    steep = jumps(warmup.schedule)
    if not steep:
        return ""
    days = ", ".join(map(str, steep))
    return f"; day {days}: more than twice the day before, for which Google may limit you; grow more slowly"
