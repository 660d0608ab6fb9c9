"""`pressrun pause`, `resume`, `cancel`, `test-send`: an operator's hand on campaigns."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from worker.cli.context import migrated_system
from worker.cli.numbers import ID
from worker.cli.output import say

if TYPE_CHECKING:
    from worker.campaigns.control import Control

_CAMPAIGN = click.argument("campaign", type=ID, required=False)
_ALL = click.option("--all", "all_", is_flag=True, help="All campaigns that it can be done to.")


@click.command("pause", short_help="Pause a campaign.")
@_CAMPAIGN
@_ALL
def pause(campaign: int | None, *, all_: bool) -> None:
    """Pause CAMPAIGN: nothing more of it is sent until it is resumed. Conversations that are open finish."""
    _act("paused", campaign, lambda control: control.pause, lambda control: control.pause_all, all_=all_)


@click.command("resume", short_help="Resume a paused or held campaign.")
@_CAMPAIGN
@_ALL
def resume(campaign: int | None, *, all_: bool) -> None:
    """Resume CAMPAIGN, or release one that is held. With --all: those that were paused; held ones stay held."""
    _act("resumed", campaign, lambda control: control.resume, lambda control: control.resume_all, all_=all_)


@click.command("cancel", short_help="Cancel a campaign.")
@_CAMPAIGN
@_ALL
def cancel(campaign: int | None, *, all_: bool) -> None:
    """Cancel CAMPAIGN: what is not sent yet is not sent."""
    _act("cancelled", campaign, lambda control: control.cancel, lambda control: control.cancel_all, all_=all_)


@click.command("test-send", short_help="Send one post to one address, as a test.")
@click.argument("post")
@click.option("--to", required=True, metavar="ADDRESS", help="Who gets it; need not be a subscriber.")
def test_send(post: str, to: str) -> None:
    """Send POST (a post's id, or a campaign's number) to one ADDRESS, with "[Test]" before its subject.

    A campaign that is held or paused is enough, so a post can be looked at before it goes out. It is not counted for
    the campaign.
    """
    from worker.audience.addresses import parse_address
    from worker.campaigns.proof import put_proof

    system = migrated_system()
    address = parse_address(to)
    group = system.shaping.group_of(address.domain)
    with system.database.write() as connection:
        delivery_id = put_proof(connection, post, address.email, group, system.clock.now())
    system.doorbell.transactional(delivery_id)
    say(f"delivery {delivery_id} to {address.email} is queued: `pressrun delivery {delivery_id}` tells the rest")


def _act(
    done: str, campaign: int | None, one: Callable[[Control], Callable[[int], None]],
    every: Callable[[Control], Callable[[], list[int]]], *, all_: bool,
) -> None:  # fmt: skip
    if (campaign is None) != all_:
        raise click.UsageError("give a campaign's number, or --all")
    control = migrated_system().control
    if campaign is None:
        ids = every(control)()
        say(f"{done}: {', '.join(map(str, ids))}" if ids else "nothing to do")
    else:
        one(control)(campaign)
        say(f"campaign {campaign}: {done}")


COMMANDS = {"pause": pause, "resume": resume, "cancel": cancel, "test-send": test_send}
