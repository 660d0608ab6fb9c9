"""`pressrun db`: migrations, and what follows from a restore."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from worker.cli.context import settings
from worker.cli.holding import held_lines
from worker.cli.output import say
from worker.storage.database import Database


@click.group("db", short_help="Migrate the database; say that it was restored.")
def db() -> None:
    """Migrate the database; say that it was restored from a copy, and let sending go on."""


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
