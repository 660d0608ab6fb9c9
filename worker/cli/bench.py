"""`pressrun bench`: one campaign to N readers, through everything, into a mailbox that only counts."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import click

from worker import resources
from worker.cli.output import say, say_json
from worker.cli.ports import free_port
from worker.cli.samples import sample_event
from worker.cli.story import DemoFailed
from worker.cli.supervisor import Supervisor
from worker.cli.up import Plan, plan, run_under_signals, running
from worker.inbox.queries import Incoming
from worker.inbox.receive import Conversation

_PARTS = ("transactional", "bulk", "scheduler")
# A campaign that moves no further for so long will not end.
_PATIENCE_SECONDS = 60.0


@dataclass
class Counting:
    """Takes mails and keeps nothing of them but how many there were, and when the first and the last came."""

    mails: int = 0
    first: float = 0.0
    last: float = 0.0

    def keep(self, mails: Sequence[Incoming]) -> asyncio.Future[None]:
        self.last = time.monotonic()
        self.first = self.first or self.last
        self.mails += len(mails)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


@click.command("bench", short_help="Measure how fast this machine sends.")
@click.option("--readers", default=10_000, show_default=True, type=click.IntRange(1, 10_000_000), help="Readers.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def bench(readers: int, *, as_json: bool) -> int:
    """Measure how fast this machine sends: one campaign to --readers, in a folder that is thrown away afterwards.

    Settings count as ever (PRESSRUN_BULK_PROCESSES, PRESSRUN_SMTP_CONNECTIONS, PRESSRUN_DATABASE_URL …), but for the
    relay: mail goes to a sink in this process, which takes a part of the machine as well.
    """
    with tempfile.TemporaryDirectory(prefix="pressrun-bench-") as folder:
        planned, port = _plan(os.environ, Path(folder))
        return run_under_signals(_run(planned, port, readers, as_json=as_json), interrupted=130)


def _plan(environ: Mapping[str, str], folder: Path) -> tuple[Plan, int]:
    port = free_port("127.0.0.1")
    whole = plan(
        {
            "PRESSRUN_CONFIG": str(resources.config_dir() / "pressrun.toml"),
            "PRESSRUN_CAMPAIGNS_PER_HOUR": "1000",
            **environ,
            "PRESSRUN_VAR_DIR": str(folder),
            "PRESSRUN_SMTP_URL": f"smtp://127.0.0.1:{port}",
        }
    )
    return replace(whole, then=tuple(part for part in whole.then if part.name in _PARTS)), port


async def _run(planned: Plan, port: int, readers: int, *, as_json: bool) -> int:
    counting = Counting()
    folder = planned.settings.var_dir
    sink = await asyncio.get_running_loop().create_server(lambda: Conversation(counting), "127.0.0.1", port)
    with (folder / "bench.log").open("w", encoding="utf-8") as log:
        async with sink, running(planned, lambda part, line: _note(log, part, line)) as supervisor:
            await _import(supervisor, folder, readers)
            before, published = counting.mails, time.monotonic()
            await _publish(supervisor, folder)
            await _all_in(counting, before + readers)
            _report(counting, readers, published, as_json=as_json)
    return 0


async def _import(supervisor: Supervisor, folder: Path, readers: int) -> None:
    path = folder / "readers.csv"
    with path.open("w", encoding="utf-8") as file:
        file.write("email,name\n")
        file.writelines(f"reader{number}@example.com,Reader {number}\n" for number in range(readers))
    arguments = ("import", str(path), "--publication", "daily", "--list", "posts")
    await _done(supervisor, "import", arguments)


async def _publish(supervisor: Supervisor, folder: Path) -> None:
    event = sample_event("post-published")
    event["id"] += f"-{time.time_ns()}"
    event["data"]["post"]["id"] = event["id"]
    path = folder / "post.json"
    path.write_text(json.dumps(event), "utf-8")
    await _done(supervisor, "emit", ("emit", str(path)))


async def _done(supervisor: Supervisor, name: str, arguments: Sequence[str]) -> None:
    if await supervisor.run_once(name, arguments):
        raise DemoFailed(f"pressrun {name} failed")


async def _all_in(counting: Counting, wanted: int) -> None:
    seen, moved = 0, time.monotonic()
    while counting.mails < wanted:
        await asyncio.sleep(0.05)
        if counting.mails != seen:
            seen, moved = counting.mails, time.monotonic()
        elif time.monotonic() - moved > _PATIENCE_SECONDS:
            raise DemoFailed(f"{seen:,} of {wanted:,} mails came; none for {_PATIENCE_SECONDS:.0f} s")


def _report(counting: Counting, readers: int, published: float, *, as_json: bool) -> None:
    seconds = counting.last - counting.first
    figures = {
        "readers": readers,
        "seconds_to_first": round(counting.first - published, 2),
        "seconds_to_last": round(counting.last - published, 2),
        "per_second": round(readers / seconds) if seconds else None,
    }
    if as_json:
        say_json(figures)
        return
    say(
        f"{readers:,} mails: the first {figures['seconds_to_first']} s after `pressrun emit` began, the last after "
        f"{figures['seconds_to_last']} s; {figures['per_second']:,} a second in between"
    )


def _note(log: IO[str], part: str, line: str) -> None:
    log.write(f"{part:13} {line}\n")


COMMANDS = {"bench": bench}
