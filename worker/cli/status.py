"""`pressrun status`: campaigns, queues, limits, breakers. Quick, since `--json` does without SQLAlchemy."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from worker.campaigns import glance_queries
from worker.cli.context import settings as current_settings
from worker.cli.holding import held_lines
from worker.cli.numbers import ID
from worker.cli.output import counts, say, say_json, table
from worker.cli.warmups import configured, warmup_lines
from worker.delivery.warmup_glance_queries import warmups
from worker.domain.errors import ConfigurationError
from worker.settings import Settings
from worker.storage.glance import Ask, looking, refuse_newer

_WATCH_SECONDS = 1.0


@click.command("status", short_help="Show campaigns, queues, limits and warm-ups.")
@click.argument("campaign", type=ID, required=False)
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 100_000), help="Campaigns to show.")
@click.option("--watch", is_flag=True, help="Show again every second, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def status(campaign: int | None, limit: int, *, watch: bool, as_json: bool) -> None:
    """Show campaigns, queues, limits and warm-ups.

    Counts by status, the rate and the time left; how many mails wait in each queue and since when; which limits hold,
    and which destinations throttle; how much of its day's allowance a new sending domain has used, and when the rest
    goes.
    """
    settings = current_settings()
    while True:
        seen = _look(settings, campaign, limit)
        if watch and not as_json:
            click.clear()
        if as_json:
            say_json(seen)
        else:
            _show(settings, seen)
        if not watch:
            return
        time.sleep(_WATCH_SECONDS)


def _look(settings: Settings, campaign: int | None, limit: int) -> dict[str, Any]:
    from worker.cli.limits import breakers  # Redis, which is not asked by those who only want their options

    now = datetime.now(UTC)
    with looking(settings.database) as ask:
        refuse_newer(ask)
        seen = glance_queries.status(ask, now, campaign_id=campaign, limit=limit)
        warming = _warmups(ask, settings, now)
    return {**seen, "warmup": warming, "breakers": breakers(settings)}


def _warmups(ask: Ask, settings: Settings, now: datetime) -> list[dict[str, Any]] | None:
    """None where a publication's file is wrong: what stands in the ledger is told all the same."""
    try:
        known = configured(settings)
    except ConfigurationError:
        return None
    return warmups(ask, known, now)


def _show(settings: Settings, seen: dict[str, Any]) -> None:
    if "held" in seen:
        for line in held_lines(seen["held"]):
            say(line)
        say()
    if seen["campaigns"]:
        table(
            ([one["id"], one["publication"], one["post"], one["status"], counts(one["counts"]), _speed(one)]
             for one in seen["campaigns"]),
            ("CAMPAIGN", "PUBLICATION", "POST", "STATUS", "DELIVERIES", "RATE"),
        )  # fmt: skip
    else:
        say("No campaign yet.")
    for one in seen["campaigns"]:
        if one["reason"]:
            say(f"campaign {one['id']}: {one['reason']}")
    say()
    table(
        ([name, lane["depth"], _span(lane["oldest_s"]) if lane["depth"] else ""]
         for name, lane in seen["queues"].items()),
        ("QUEUE", "WAITING", "OLDEST"),
    )  # fmt: skip
    say()
    for one in seen["breakers"] or ():
        say(_breaker_line(one))
    from worker.cli.limits import limit_lines  # Redis and the shaping table, which JSON does without

    for line in (*limit_lines(settings), *warmup_lines(seen["warmup"])):
        say(line)


def _breaker_line(one: dict[str, Any]) -> str:
    if one["state"] == "open":
        return f"breaker {one['name']}: open for {_span(one['opens_in_s'])}, {one['failures']} in a row: {one['why']}"
    return f"breaker {one['name']}: {one['state']}, {one['window']} at once: {one['why']}"


def _speed(one: dict[str, Any]) -> str:
    rate = f"{one['rate']:g}/s" if one["rate"] else ""
    return f"{rate}, {_span(one['eta_s'])} left" if one["eta_s"] is not None else rate


def _span(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


COMMANDS = {"status": status}
