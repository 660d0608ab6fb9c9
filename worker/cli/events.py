"""`pressrun emit`: events handed in from files, without the API."""

from __future__ import annotations

from typing import BinaryIO

import click

from worker.cli.context import migrated_system
from worker.cli.output import say, warn
from worker.domain.errors import Conflict, InvalidInput
from worker.domain.events import Event


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


COMMANDS = {"emit": emit}
