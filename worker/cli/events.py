"""`pressrun emit`, `events`, `replay`: events handed in from files, looked at, and given their effect later."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

import click

from worker.cli.context import migrated_system
from worker.cli.numbers import ID, LAST_ID
from worker.cli.output import say, say_json, table, warn
from worker.domain.errors import Conflict, InvalidInput, NotFound, PressrunError
from worker.domain.events import Event, EventStatus

if TYPE_CHECKING:
    from worker.bootstrap import System
    from worker.intake.receive import Receipt


@click.command("emit", short_help="Hand in events from files (JSON, or one per line; `-` is stdin).")
@click.argument("files", nargs=-1, required=True, type=click.File("rb"))
def emit(files: tuple[BinaryIO, ...]) -> int:
    """Hand in events from FILES; `-` is standard input.

    A file holds one event (CloudEvents 1.0, JSON), or one in each line. Each is printed with its id and what became of
    it: accepted, duplicate or ignored. One that is refused is named on stderr, the others go on, and the exit code
    is 1.
    """
    from worker.intake.reading import read_events
    from worker.intake.receive import named_publication

    system = migrated_system()
    refused = 0
    for file in files:
        for where, event in read_events(file, file.name, system.settings.max_event_bytes):
            try:
                known = _valid(event)
                receipt = system.intake.receive(named_publication(system.publications, known), known)
            except (InvalidInput, Conflict) as error:
                refused += 1
                warn(f"{where}: {error}")
            else:
                say("  ".join(filter(None, (receipt.id, receipt.status, receipt.note))))
    return 1 if refused else 0


def _valid(event: Event | InvalidInput) -> Event:
    if isinstance(event, InvalidInput):
        raise event
    return event


@click.command("events", short_help="List events, and what each led to.")
@click.option("--status", type=click.Choice([one.value for one in EventStatus]), help="Only those with this status.")
@click.option("--publication", metavar="SLUG", help="Only those for it.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 100_000), help="So many at most.")
@click.option("--after", default=0, type=click.IntRange(0, LAST_ID), help="Only numbers above this one: the next page.")
@click.option("--json", "as_json", is_flag=True, help="A JSON list.")
def events(status: str | None, publication: str | None, limit: int, after: int, *, as_json: bool) -> None:
    """List events by number: what each was, and what it led to."""
    from worker.intake.views import list_events

    system = migrated_system()
    with system.database.read() as connection:
        found = list_events(connection, publication=publication, status=status, after=after, limit=limit)
    if as_json:
        say_json(found)
        return
    table(
        ([one["number"], one["publication"], one["type"], one["status"], one["id"], one["note"]] for one in found),
        ("EVENT", "PUBLICATION", "TYPE", "STATUS", "ID", "NOTE"),
    )
    if len(found) == limit:
        say(f"\nThere may be more: --after {found[-1]['number']}")


@click.command("replay", short_help="Let events have their effect that led to nothing.")
@click.argument("numbers", metavar="EVENT…", nargs=-1, type=ID)
@click.option("--all", "all_", is_flag=True, help="All that led to nothing and can be played now.")
def replay(numbers: tuple[int, ...], *, all_: bool) -> int:
    """Let each EVENT (its number in `pressrun events`) have its effect, if it has had none.

    An event whose type was not known is on record as ignored: after an upgrade that knows it, it can be played. One
    that has had its effect is left alone, so nothing is doubled.
    """
    from worker.intake.overlooked import overlooked

    if bool(numbers) == all_:
        raise click.UsageError("give the numbers of events, or --all")
    system = migrated_system()
    refused = done = 0
    for number in overlooked(system.database) if all_ else numbers:
        try:
            receipt = _replayed(system, number)
        except PressrunError as error:
            refused += 1
            warn(str(error))
        else:
            done += 1
            say("  ".join(filter(None, (str(number), receipt.id, receipt.note))))
    if all_ and not done and not refused:
        say("nothing to do")
    return 1 if refused else 0


def _replayed(system: System, number: int) -> Receipt:
    from worker.intake.views import list_events

    with system.database.read() as connection:
        found = list_events(connection, after=number - 1, limit=1)
    if not found or found[0]["number"] != number:
        raise NotFound(f"there is no event {number}")
    publication = system.publications.get(found[0]["publication"])
    if publication is None:
        raise NotFound(f"event {number}: there is no publication {found[0]['publication']!r} any more")
    return system.intake.replay(publication, number)


COMMANDS = {"emit": emit, "events": events, "replay": replay}
