"""`pressrun audit`: is anything wrong in ledger, queues and leases, and what mends it?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from worker.cli.context import system as make_system
from worker.cli.output import say, say_json

if TYPE_CHECKING:
    from worker.audit.findings import Finding
    from worker.bootstrap import System


@click.command("audit", short_help="Compare ledger, queues and leases; say what is wrong, and what mends it.")
@click.option("--quick", is_flag=True, help="Without the walk through all deliveries and events.")
@click.option("--mend", is_flag=True, help="Run one sweep and count wrong counters again, then look.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def audit(*, quick: bool, mend: bool, as_json: bool) -> int:
    """Compare ledger, queues and leases: what is inconsistent, stuck or overdue, each with the command that mends it.

    Exit code 1 when something is wrong. It may run at any time: it reads page by page, and holds nothing up.
    """
    system = make_system()
    if mend:
        for line in _mended(system):
            click.echo(line, err=as_json)
    found = list(_findings(system, quick=quick))
    wrong = [one for one in found if one.wrong]
    if as_json:
        say_json({"ok": not wrong, "findings": [one.object() for one in found]})
        return 1 if wrong else 0
    for one in found:
        word = click.style("WRONG", fg="red", bold=True) if one.wrong else "note "
        say(f"{word}  {one.kind}: {one.words}")
        say(f"       {one.fix}")
    if not wrong:
        say("nothing is wrong")
    return 1 if wrong else 0


def _findings(system: System, *, quick: bool) -> Iterator[Finding]:
    from worker.audit.findings import Kind

    found = system.audit.quick()
    yield from found
    # of a database at another migration nothing else can be asked
    if not quick and Kind.MIGRATION not in {one.kind for one in found}:
        yield from system.audit.thorough()


def _mended(system: System) -> Iterator[str]:
    from worker.cli.context import require_migrated
    from worker.station import Station

    require_migrated(system.database)
    swept = {kind: n for kind, n in Station(system).mend().items() if n}
    for kind, n in swept.items():
        yield f"mended: {kind} {n:,}"
    counted = system.audit.mend_tallies()
    if counted:
        yield f"mended: {counted:,} slice(s) counted again"
    if not swept and not counted:
        yield "there was nothing to mend"


COMMANDS = {"audit": audit}
