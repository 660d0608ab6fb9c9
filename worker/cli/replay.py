"""`pressrun retry`, `mark-sent`: what ended badly is sent again, or what is unknown is considered sent."""

from __future__ import annotations

import math

import click

from worker.cli.context import migrated_system
from worker.cli.numbers import ID
from worker.cli.output import say

_STATUSES = "failed, bounced, expired, unknown, suppressed, cancelled"
_CAMPAIGN = click.argument("campaign", type=ID, required=False)
_DELIVERY = click.option("--delivery", "ids", multiple=True, type=ID, help="Only this one; may be given again.")


@click.command("retry", short_help="Give a campaign's failed deliveries another life.")
@_CAMPAIGN
@_DELIVERY
@click.option("--transactional", is_flag=True, help="Confirmations and the like, which belong to no campaign.")
@click.option(
    "--status", "statuses", multiple=True, default=("failed",), show_default=True,
    help=f"Which ones; may be given again: {_STATUSES}.",
)  # fmt: skip
def retry(campaign: int | None, ids: tuple[int, ...], statuses: tuple[str, ...], *, transactional: bool) -> None:
    """Send again to those of CAMPAIGN that ended with a status, to all transactional ones, or to single deliveries.

    Each keeps its Message-ID and the attempts on record; its count of attempts and its lifetime start anew.
    """
    if (campaign is not None) + bool(ids) + transactional != 1:
        raise click.UsageError("give a campaign's number, --delivery or --transactional")
    system = migrated_system()
    if campaign is not None:
        count = system.control.retry(campaign, statuses) + system.control.finish_retry(campaign)
        say(f"campaign {campaign}: {count:,} queued again")
    elif transactional:
        done = system.replay.transactional(statuses, seconds=math.inf)
        left = f"; {done.worthless:,} left, since the link in them is over" if done.worthless else ""
        say(f"transactional: {done.n:,} queued again{left}")
    for one in ids:
        system.replay.again(one)
        say(f"delivery {one}: queued again")


@click.command("mark-sent", short_help="Consider unknown outcomes sent.")
@_CAMPAIGN
@_DELIVERY
def mark_sent(campaign: int | None, ids: tuple[int, ...]) -> None:
    """Consider what is unknown of CAMPAIGN, or single deliveries, as sent: the relay's log says that they went out."""
    if (campaign is not None) == bool(ids):
        raise click.UsageError("give a campaign's number, or --delivery")
    system = migrated_system()
    if campaign is not None:
        done = system.replay.consider_campaign_sent(campaign, seconds=math.inf)
        say(f"campaign {campaign}: {done.n:,} considered sent")
    for one in ids:
        system.replay.consider_sent(one)
        say(f"delivery {one}: considered sent")


COMMANDS = {"retry": retry, "mark-sent": mark_sent}
