"""`pressrun import`, `suppress`, `unsuppress`, `erase`: readers and addresses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from worker.cli.context import migrated_system
from worker.cli.output import choice, number, say, warn
from worker.domain.doorbell import RecordingDoorbell
from worker.domain.errors import NotFound
from worker.domain.publication import Publication

if TYPE_CHECKING:
    from worker.audience.csvfile import BadRow

_ADDRESS = click.argument("address")
_PUBLICATION = click.option(
    "--publication", default="*", show_default=True, help="For this publication alone; `*` is for all of them."
)
# Nothing is rung by these: no mail follows from them.
_SILENT = RecordingDoorbell


@click.command("import", short_help="Bring in subscribers from a CSV file.")
@click.argument("csv", type=click.File("rb"))
@click.option("--publication", required=True, help="Whose readers they are.")
@click.option("--list", "list_slug", required=True, help="The list they are put on.")
def import_(csv: BinaryIO, publication: str, list_slug: str) -> None:
    """Bring in subscribers from CSV (`-` is standard input), UTF-8 with a header line: `email,name` and any labels.

    They are on the list at once, since you have their consent; the file and line are kept as its evidence. A bad row is
    reported with its line and skipped. Running it again changes nothing, and nobody who left is brought back.
    """
    from worker.audience.importer import ImportInto, import_csv

    system = migrated_system(_SILENT())
    _require(system.publications, publication)
    if system.publications[publication].list_named(list_slug) is None:
        lists = ", ".join(one.slug for one in system.publications[publication].lists)
        raise NotFound(f"{publication} has no list {list_slug!r}; it has {lists}")
    into = ImportInto(publication, list_slug, Path(csv.name).name)
    done = import_csv(system.database, system.clock, csv, into, _report)
    say(
        f"{number(done.rows, 'row')}: {done.added:,} new on {list_slug}, {done.unchanged:,} there already, "
        f"{done.unsubscribed:,} had left and stay away, {done.suppressed:,} suppressed; "
        f"{number(done.bad, 'bad row')} skipped"
    )


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
    if publication != suppression.EVERYBODY:
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


def _report(bad: BadRow) -> None:
    warn(f"line {bad.line}: {bad.reason}, skipped")


def _require(publications: Mapping[str, Publication], slug: str) -> None:
    if slug not in publications:
        raise NotFound(f"there is no publication {slug!r}; {choice(publications)}")


COMMANDS = {"import": import_, "suppress": suppress, "unsuppress": unsuppress, "erase": erase}
