"""`pressrun deliveries` and `pressrun delivery`: what became of each mail."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from worker.cli.context import migrated_system
from worker.cli.numbers import ID, LAST_ID
from worker.cli.output import say, say_json, table
from worker.domain.delivery import DeliveryStatus

_STATUSES = click.Choice([status.value for status in DeliveryStatus])


@click.command("deliveries", short_help="List deliveries.")
@click.option("--campaign", type=ID, help="Of which campaign.")
@click.option("--transactional", is_flag=True, help="Only confirmations and the like, which belong to no campaign.")
@click.option("--status", type=_STATUSES, help="Only those with this status; without --campaign, over all of them.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 100_000), help="So many at most.")
@click.option("--after", default=0, type=click.IntRange(0, LAST_ID), help="Only ids above this one: the next page.")
@click.option("--json", "as_json", is_flag=True, help="A JSON list.")
def deliveries(
    campaign: int | None, status: str | None, limit: int, after: int, *, transactional: bool, as_json: bool
) -> None:
    """List deliveries, by id: of a campaign, of transactional mail, or with a status."""
    if campaign is None and status is None and not transactional:
        raise click.UsageError("give --campaign, --transactional or --status")
    if campaign is not None and transactional:
        raise click.UsageError("--campaign and --transactional exclude each other")
    found = _found(campaign, status, after, limit, transactional_only=transactional)
    if as_json:
        say_json(found)
        return
    table(
        ([one["id"], one["campaign"], one["status"], one["reason"], one["address"], len(one["attempts"]),
          one["next_attempt_at"], _reply(one)]
         for one in found),
        ("DELIVERY", "CAMPAIGN", "STATUS", "REASON", "ADDRESS", "ATTEMPTS", "NEXT", "LAST REPLY"),
    )  # fmt: skip
    if len(found) == limit:
        say(f"\nThere may be more: --after {found[-1]['id']}")


def _found(
    campaign: int | None, status: str | None, after: int, limit: int, *, transactional_only: bool
) -> list[dict[str, Any]]:
    from worker.campaigns.progress import campaign_view

    system = migrated_system()
    views = system.delivery_views
    with system.database.read() as connection:
        if campaign is None:
            return views.with_status(
                connection, status, transactional_only=transactional_only, after=after, limit=limit
            )
        # one that does not exist is an error, not an empty list
        campaign_view(connection, campaign, system.clock.now())
        return views.of_campaign(connection, campaign, status=status, after=after, limit=limit)


@click.command("delivery", short_help="Show one delivery's whole life.")
@click.argument("delivery_id", metavar="DELIVERY", type=ID)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def delivery(delivery_id: int, *, as_json: bool) -> None:
    """Show the whole life of DELIVERY: what it is, where it went, every attempt with its reply."""
    from worker.delivery.views import DeliveryViews

    system = migrated_system()
    with system.database.read() as connection:
        found = DeliveryViews(system.identity_key, system.publications).one(connection, delivery_id)
    if as_json:
        say_json(found)
        return
    for name, value in found.items():
        if name != "attempts" and value not in (None, ""):
            say(f"{name.replace('_', ' '):16} {value}")
    say()
    if not found["attempts"]:
        say("No attempt yet.")
        return
    table(
        ([one["at"], one["outcome"], one["code"], one["enhanced"], one["reply"]] for one in found["attempts"]),
        ("AT", "OUTCOME", "CODE", "ENHANCED", "REPLY"),
    )


def _reply(one: Mapping[str, Any]) -> str:
    return str(one["attempts"][-1]["reply"] or "") if one["attempts"] else ""


COMMANDS = {"deliveries": deliveries, "delivery": delivery}
