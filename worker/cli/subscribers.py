"""`pressrun import`, `suppress`, `unsuppress`, `erase`: readers and addresses."""

from __future__ import annotations

from collections.abc import Mapping

import click

from worker.cli.context import migrated_system
from worker.cli.output import say
from worker.domain.doorbell import RecordingDoorbell
from worker.domain.errors import NotFound
from worker.domain.publication import Publication

_ADDRESS = click.argument("address")
_PUBLICATION = click.option(
    "--publication", default="*", show_default=True, help="For this publication alone; `*` is for all of them."
)
# Nothing is rung by these: no mail follows from them.
_SILENT = RecordingDoorbell


@click.command("suppress", short_help="Never write to an address again.")
@_ADDRESS
@_PUBLICATION
@click.option("--reason", "evidence", default="", help="Why, in words, for the record.")
def suppress(address: str, publication: str, evidence: str) -> None:
    """Never write to ADDRESS again, whatever is published and whoever signs it up."""
    from worker.audience import suppression
    from worker.audience.addresses import parse_address
    from worker.domain.audience import SuppressionReason

    system = migrated_system(_SILENT())
    found = parse_address(address, "ADDRESS")
    _require(system.publications, publication)
    with system.database.write() as connection:
        new = suppression.suppress(
            connection, found, publication, SuppressionReason.OPERATOR, evidence, system.clock.now()
        )
    say(f"{found.email} is suppressed" if new else f"{found.email} was suppressed already")


@click.command("unsuppress", short_help="Lift a suppression.")
@_ADDRESS
@_PUBLICATION
def unsuppress(address: str, publication: str) -> None:
    """Lift the suppression of ADDRESS. One for all publications is only lifted without --publication."""
    from worker.audience import suppression
    from worker.audience.addresses import parse_address

    system = migrated_system(_SILENT())
    found = parse_address(address, "ADDRESS")
    with system.database.write() as connection:
        lifted = suppression.unsuppress(connection, found, publication)
        others = suppression.suppressions(connection, found)
    if not lifted and not others:
        raise NotFound(f"{found.email} is not suppressed")
    if lifted:
        say(f"{found.email} is no longer suppressed for {publication}")
    for one in others:
        say(f"still suppressed for {one.publication}: {one.reason}, since {one.created_at:%Y-%m-%d}")


@click.command("erase", short_help="Erase all personal data of an address (GDPR, article 17).")
@_ADDRESS
@click.option("--yes", is_flag=True, help="Do not ask.")
def erase(address: str, *, yes: bool) -> None:
    """Erase everything that is known of ADDRESS, at every publication. Counts stay. It cannot be undone."""
    from worker.audience import erase as erasing
    from worker.audience.addresses import parse_address

    system = migrated_system(_SILENT())
    found = parse_address(address, "ADDRESS")
    if not yes:
        click.confirm(f"Erase everything known of {found.email}?", abort=True, err=True)
    with system.database.write() as connection:
        done = erasing.erase(connection, found, system.clock.now())
    if not done.anything:
        raise NotFound(f"nothing is known of {found.email}")
    say(
        f"erased: {done.subscribers} subscriber(s), {done.consents} consent(s), {done.labels} label(s), "
        f"{done.events} event(s), {done.deliveries} delivery(ies), of which {done.cancelled} had not gone out"
    )
    if done.suppressions_kept:
        say(f"kept: {done.suppressions_kept} suppression(s), without their reason; `pressrun unsuppress` removes them")


def _require(publications: Mapping[str, Publication], slug: str) -> None:
    if slug != "*" and slug not in publications:
        raise NotFound(f"there is no publication {slug!r}; there are {', '.join(publications)}")


COMMANDS = {"suppress": suppress, "unsuppress": unsuppress, "erase": erase}
