"""`pressrun status`: campaigns, queues, limits. Quick, since `--json` imports neither SQLAlchemy nor Redis."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from worker.campaigns import glance_queries
from worker.cli.context import settings as current_settings
from worker.cli.numbers import ID
from worker.cli.output import counts, say, say_json, table
from worker.settings import Settings
from worker.storage.glance import looking

_WATCH_SECONDS = 1.0


@click.command("status", short_help="Show campaigns, queues and limits.")
@click.argument("campaign", type=ID, required=False)
@click.option("--limit", default=20, show_default=True, type=click.IntRange(min=1), help="Campaigns to show.")
@click.option("--watch", is_flag=True, help="Show again every second, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def status(campaign: int | None, limit: int, *, watch: bool, as_json: bool) -> None:
    """Show campaigns, queues and limits.

    Counts by status, the rate and the time left; how many mails wait in each queue and since when; which limits hold.
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
    with looking(settings.database) as ask:
        return glance_queries.status(ask, datetime.now(UTC), campaign_id=campaign, limit=limit)


def _show(settings: Settings, seen: dict[str, Any]) -> None:
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
    from worker.cli.limits import limit_lines  # Redis and the shaping table, which JSON does without

    for line in limit_lines(settings):
        say(line)


def _speed(one: dict[str, Any]) -> str:
    rate = f"{one['rate']:g}/s" if one["rate"] else ""
    return f"{rate}, {_span(one['eta_s'])} left" if one["eta_s"] is not None else rate


def _span(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


COMMANDS = {"status": status}
