"""`pressrun db`: migrations, what follows from a restore, and room for what is to come."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from worker.cli.context import migrated_system, settings
from worker.cli.holding import held_lines
from worker.cli.numbers import ID
from worker.cli.output import say
from worker.storage.database import Database


@click.group("db", short_help="Migrate the database; make room in it; say that it was restored.")
def db() -> None:
    """Migrate the database, make room in it, say that it was restored from a copy and let sending go on."""


@db.command("upgrade")
def upgrade() -> None:
    """Bring the database to this version's migration; makes it where there is none."""
    from worker.storage import migrate

    with _database() as database:
        before = migrate.state(database).current
        migrate.upgrade(database)
        after = migrate.state(database).current
    say(f"the database is at {after}" if before == after else f"the database went from {before or 'empty'} to {after}")


@db.command("downgrade")
@click.argument("revision")
@click.option("--yes", is_flag=True, help="Do it: what later migrations added is lost, with `base` everything.")
def downgrade(revision: str, *, yes: bool) -> None:
    """Take the database back to REVISION (`base`: empty). Data of later migrations is lost."""
    from worker.storage import migrate

    if not yes:
        raise click.UsageError(f"going back to {revision} loses data; add --yes to do it")

    with _database() as database:
        migrate.downgrade(database, revision)
        say(f"the database is at {migrate.state(database).current or 'base'}")


@db.command("state")
def state() -> int:
    """Show the database's migration and this version's; exit code 1 where they differ."""
    from worker.storage import migrate

    with _database() as database:
        found = migrate.state(database)
    say(f"database {found.current or 'empty'}, this version {found.head}: {found.status}")
    return 0 if found.status == "current" else 1


@db.command("restored")
def restored() -> None:
    """Say that the database was restored from a copy: nothing is sent until `pressrun db release`.

    Pressrun notices it by itself where its Redis or its var folder is still there. Where both are new, nobody
    remembers: say it before anything is started.
    """
    from worker.cli.context import migrated_system
    from worker.domain.doorbell import RecordingDoorbell
    from worker.storage import ledger

    system = migrated_system(RecordingDoorbell())
    with system.database.write() as connection:
        new = ledger.hold(connection, system.clock.now(), "an operator said that it was restored from a copy")
    say("sending is held; `pressrun db release` says what would be sent" if new else "sending is held already")


@db.command("release")
@click.option("--yes", is_flag=True, help="Do it; without, what would be sent is only shown.")
def release(*, yes: bool) -> int:
    """Let sending go on after a restore, once it is known that what would be sent should be sent."""
    from worker.cli.context import migrated_system
    from worker.storage import ledger
    from worker.storage.glance import looking
    from worker.storage.held import held

    system = migrated_system()
    with looking(system.settings.database) as ask:
        found = held(ask)
    if found is None:
        say("nothing is held")
        return 0
    for line in held_lines(found):
        say(line)
    if not yes:
        return 1
    with system.database.write() as connection:
        ledger.release(connection, system.clock.now())
    system.slots.wake()
    say("released: sending goes on")
    return 0


@db.command("drop-deliveries")
@click.argument("campaign", type=ID)
@click.option("--yes", is_flag=True, help="Do it without asking.")
def drop_deliveries(campaign: int, *, yes: bool) -> None:
    """Drop the deliveries and attempts of CAMPAIGN, which must be over; its counts stay.

    It takes its time, so that sending goes on beside it. Cut short, it can be run again.
    """
    dropper = migrated_system().dropper
    found = dropper.outlook(campaign)
    if not found.deliveries:
        say(f"campaign {campaign} has no deliveries")
        return
    say(
        f"campaign {campaign} of {found.publication} (post {found.post_id}), {found.status} on "
        f"{found.finished_at:%Y-%m-%d}: {found.deliveries:,} deliveries go, with their attempts. Its counts stay. It "
        "can be neither retried nor published again then, and a bounce that is still to come finds no delivery."
    )
    if not yes:
        click.confirm("Drop them?", abort=True)
    say(f"campaign {campaign}: {dropper.drop(campaign):,} deliveries dropped")


@contextmanager
def _database() -> Iterator[Database]:
    """The database of the settings; its folder is made when it is missing."""
    found = settings()
    if not found.database_url:
        found.var_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    database = Database(found.database)
    try:
        yield database
    finally:
        database.close()


COMMANDS = {"db": db}
