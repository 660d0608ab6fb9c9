"""`pressrun`: the group of all commands, and the one place where an error becomes a line and an exit code."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from worker import __version__
from worker.domain.errors import PressrunError

# Commands are imported when they are called: `pressrun status` must not wait for FastAPI and Celery.
# Here, too, the words that `pressrun --help` shows; a test holds them against the commands' own.
COMMANDS: dict[str, tuple[str, str]] = {
    "up": ("up", "Start the whole system in this terminal."),
    "demo": ("demo", "Show it: a sign-up, its confirmation, and one post to a thousand readers."),
    "emit": ("events", "Hand in events from files (JSON, or one per line; `-` is stdin)."),
    "events": ("events", "List events, and what each led to."),
    "replay": ("events", "Let events have their effect that led to nothing."),
    "import": ("subscribers", "Bring in subscribers from a CSV file."),
    "status": ("status", "Show campaigns, queues, limits and warm-ups."),
    "deliveries": ("deliveries", "List deliveries."),
    "delivery": ("deliveries", "Show one delivery's whole life."),
    "pause": ("control", "Pause a campaign."),
    "resume": ("control", "Resume a paused or held campaign."),
    "cancel": ("control", "Cancel a campaign."),
    "retry": ("replay", "Give a campaign's failed deliveries another life."),
    "mark-sent": ("replay", "Consider unknown outcomes sent."),
    "test-send": ("control", "Send one post to one address, as a test."),
    "suppress": ("subscribers", "Never write to an address again."),
    "unsuppress": ("subscribers", "Lift a suppression."),
    "erase": ("subscribers", "Erase all personal data of an address (GDPR, article 17)."),
    "check": ("check", "Check configuration, database, Redis, relay and DNS."),
    "audit": ("audit", "Compare ledger, queues and leases; say what is wrong, and what mends it."),
    "db": ("db", "Migrate the database; make room in it; say that it was restored."),
    "bench": ("bench", "Measure how fast this machine sends."),
    "preview": ("preview", "Render a mail with sample data."),
    "part": ("parts", "Run one part of the system in this process."),
}


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"worker.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = module.COMMANDS[cmd_name]
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, words) for name, (_, words) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pressrun")
def cli() -> None:
    """Pressrun: events in, mails out, the status of every single one on record."""


def main() -> NoReturn:
    """The console script. Exit codes: 0 done, 1 an error (one line on stderr), 2 wrong usage, 130 Ctrl-C."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; what goes wrong is one clear line on stderr."""
    # Looking for plugins of pydantic, of which we have none, is a sixth of what `pressrun status` takes.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        code = cli.main(list(arguments), prog_name="pressrun", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Abort:
        return 130
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except BrokenPipeError:
        _close_stdout()
        return 0
    except PressrunError as error:
        return _complain(str(error))
    except OSError as error:
        return _complain(f"{error.strerror or error}: {error.filename}" if error.filename else str(error))
    except Exception as error:
        if os.environ.get("PRESSRUN_LOG_LEVEL") == "DEBUG":
            raise
        return _complain(
            f"unexpected {type(error).__name__}: {error}; this is a fault of Pressrun "
            "(PRESSRUN_LOG_LEVEL=DEBUG shows where)"
        )
    return code if isinstance(code, int) else 0


def _complain(message: str) -> int:
    from worker.cli.output import without_secrets

    click.echo(f"pressrun: {without_secrets(message)}", err=True)
    return 1


def _close_stdout() -> None:
    # `pressrun deliveries | head` is no error; without this the interpreter complains while it ends
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
