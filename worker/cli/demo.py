"""`pressrun demo`: everything for real, on this machine, with a mailbox to look at."""

from __future__ import annotations

import base64
import os
import secrets
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import click
import httpx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from worker import resources
from worker.cli.output import counts, say, table, warn, without_secrets
from worker.cli.ports import only_one, reachable, require_free
from worker.cli.story import DemoFailed, Story, Verdict
from worker.cli.supervisor import StartFailed, Supervisor
from worker.cli.up import Plan, addresses, given_redis_trouble, plan, run_under_signals, running
from worker.domain.errors import ConfigurationError
from worker.inbox.queries import MailBox
from worker.settings import Settings, load_settings

_PUBLICATION, _LIST = "daily", "posts"
_LOG_TAIL = 15


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the demo plays: its plan, the token it speaks with, what tells this run from others."""

    plan: Plan
    token: str
    tag: str

    @property
    def settings(self) -> Settings:
        return self.plan.settings

    @property
    def log(self) -> Path:
        return self.settings.var_dir / "demo.log"


@click.command("demo", short_help="Show it: a sign-up, its confirmation, and one post to a thousand readers.")
@click.option("--subscribers", default=1000, show_default=True, type=click.IntRange(0, 1_000_000), help="Readers more.")
@click.option("--exit", "exit_", is_flag=True, help="Stop when done; exit code 0 only if every delivery was sent.")
def demo(subscribers: int, *, exit_: bool) -> int:
    """Show the whole of it: a sign-up, its confirmation, the click, and one post to --subscribers readers.

    Everything runs for real on this machine; mail goes into a local inbox and nowhere else. Files are in `var/demo`,
    emptied at each start, or in PRESSRUN_VAR_DIR if that is set.
    """
    began = time.monotonic()
    stage = _stage(os.environ)
    with only_one(stage.settings.var_dir):
        require_free(stage.plan.listeners)
        return run_under_signals(_play(stage, subscribers, began, exit_=exit_), interrupted=130 if exit_ else 0)


def _stage(environ: Mapping[str, str]) -> Stage:
    given = load_settings({**environ, "PRESSRUN_CONFIG": _config(environ)})
    if given.environment == "production":
        raise ConfigurationError("PRESSRUN_ENVIRONMENT: found 'production'; the demo makes up readers")
    trouble = given_redis_trouble(given)
    if trouble:
        raise ConfigurationError(f"{trouble}, or unset it: the demo brings one of its own")
    folder = _folder(environ, given)
    token = environ.get("PRESSRUN_DAILY_TOKEN", "").partition(",")[0] or secrets.token_urlsafe(24)
    staged = plan(
        {
            # a demo on one database again and again is no flood
            "PRESSRUN_CAMPAIGNS_PER_HOUR": "1000",
            # the sweep finds a campaign finished; nobody likes to watch a full bar for five seconds
            "PRESSRUN_SWEEP_SECONDS": "1",
            **environ,
            "PRESSRUN_CONFIG": _config(environ),
            "PRESSRUN_VAR_DIR": str(folder),
            "PRESSRUN_DAILY_TOKEN": token,
            "PRESSRUN_PUBLIC_URL": "",
            "PRESSRUN_SMTP_URL": f"smtp://{reachable(given.api_host)}:{given.inbox_smtp_port}",
        },
        inbox=True,
    )
    fresh = not given.database_url and not (folder / "pressrun.db").exists()
    return Stage(staged, token, "" if fresh else base64.b32encode(secrets.token_bytes(5)).decode().lower())


def _config(environ: Mapping[str, str]) -> str:
    """The shipped configuration with its sample publication, unless one is named."""
    return environ.get("PRESSRUN_CONFIG") or str(resources.config_dir() / "pressrun.toml")


def _folder(environ: Mapping[str, str], given: Settings) -> Path:
    """`var/demo`, which is ours to empty; or the folder that was asked for, as it is."""
    if environ.get("PRESSRUN_VAR_DIR"):
        return given.var_dir.resolve()
    folder = (given.var_dir / "demo").resolve()
    with only_one(folder):
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return folder


async def _play(stage: Stage, subscribers: int, began: float, *, exit_: bool) -> int:
    with stage.log.open("a", encoding="utf-8") as log:
        try:
            async with running(stage.plan, lambda part, line: _note(log, part, line)) as supervisor:
                say(f"Started in {time.monotonic() - began:.1f} s: {', '.join(_parts(stage.plan))}")
                verdict = await _tell(stage, supervisor, subscribers, began)
                if exit_:
                    say(f"Stopping. The mails and the parts' log stay in {stage.settings.var_dir}.")
                    return 1 if verdict.missing else 0
                await _stay(stage, supervisor)
        except StartFailed as error:
            _show_tail(stage.log, error.part)
            raise
    return 0


async def _tell(stage: Stage, supervisor: Supervisor, subscribers: int, began: float) -> Verdict:
    settings = stage.settings
    host = reachable(settings.api_host)
    bearer = {"Authorization": f"Bearer {stage.token}"}
    async with (
        httpx.AsyncClient(base_url=f"http://{host}:{settings.api_port}", headers=bearer, timeout=30) as api,
        httpx.AsyncClient(base_url=f"http://{host}:{settings.inbox_port}", timeout=30) as inbox,
    ):
        story = Story(api, inbox, stage.tag)
        await story.sign_up()
        say(f"{story.reader} signs up")
        link = await story.confirmation()
        say("The confirmation is in the inbox")
        await story.confirm(link)
        say("The link is opened (GET), the button pressed (POST): confirmed")
        await _import(stage, supervisor, subscribers)
        say(f"{subscribers:,} more readers imported")
        campaign = await story.publish()
        say(f"The post is published: campaign {campaign}\n")
        published = time.monotonic()
        await _watch(story, campaign)
        seen = _seen(settings)
        verdict = await story.verdict(campaign, seen.times)
    # by the inbox' clock: that the campaign is finished is found out a moment later
    last = time.monotonic() - (time.time() - seen.last)
    _report(verdict, last - published, last - began)
    return verdict


async def _import(stage: Stage, supervisor: Supervisor, subscribers: int) -> None:
    path = stage.settings.var_dir / "readers.csv"
    with path.open("w", encoding="utf-8") as file:
        file.write("email,name\n")
        for number in range(1, subscribers + 1):
            file.write(f"reader{number:05}@example.{('com', 'org', 'net')[number % 3]},Reader {number}\n")
    arguments = ("import", str(path), "--publication", _PUBLICATION, "--list", _LIST)
    if await supervisor.run_once("import", arguments):
        raise DemoFailed("the readers could not be imported")


async def _watch(story: Story, campaign: int) -> None:
    columns = (
        TextColumn("{task.description:9}"), BarColumn(bar_width=40), MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("{task.fields[words]}"),
    )  # fmt: skip
    with Progress(*columns, console=Console(highlight=False)) as progress:
        task = progress.add_task("planning", total=None, words="")

        def show(found: Mapping[str, Any]) -> None:
            progress.update(
                task, description=found["status"], total=found["planned"] or None,
                completed=found["counts"].get("sent", 0), words=counts(found["counts"]),
            )  # fmt: skip

        await story.follow(campaign, show)


@dataclass(frozen=True, slots=True)
class Seen:
    """What the inbox has: how often each Message-ID, and when the last mail came (`time.time()`)."""

    times: Mapping[str, int]
    last: float


def _seen(settings: Settings) -> Seen:
    box = MailBox(settings.var_dir / "inbox")
    try:
        newest = box.newest(limit=1)
        return Seen(box.times_seen(), newest[0].received_at.timestamp() if newest else time.time())
    finally:
        box.close()


def _report(verdict: Verdict, took: float, whole: float) -> None:
    say()
    table(
        ([one["id"], one["status"], one["address"], one["attempts"][-1]["reply"] if one["attempts"] else ""]
         for one in verdict.examples),
        ("DELIVERY", "STATUS", "ADDRESS", "REPLY"),
    )  # fmt: skip
    if verdict.deliveries > len(verdict.examples):
        say(f"… and {verdict.deliveries - len(verdict.examples):,} more")
    say(f"\n{counts(verdict.counts)}; the last mail was in {took:.1f} s after the post, {whole:.1f} s after the start")
    if not verdict.missing:
        say("Every delivery was sent, and the inbox has each of them exactly once.\n")
        return
    warn(f"{len(verdict.missing):,} things are amiss:")
    for line in verdict.missing[:20]:
        warn(f"  {line}")


async def _stay(stage: Stage, supervisor: Supervisor) -> None:
    folder = stage.settings.var_dir
    for what, where in addresses(stage.settings, inbox=True):
        say(f"  {what:18} {where}")
    say()
    say(f"Look around: PRESSRUN_VAR_DIR={folder} pressrun status. What the parts say is in {stage.log}.")
    say("Ctrl-C stops it.\n")
    await supervisor.failed()


def _parts(planned: Plan) -> list[str]:
    return [part.name for part in (*planned.first, *planned.then)]


def _note(log: IO[str], part: str, line: str) -> None:
    log.write(f"{part:13} {without_secrets(line)}\n")
    log.flush()


def _show_tail(path: Path, part: str) -> None:
    """What the part said last; the others may have gone on talking."""
    lines = path.read_text("utf-8", "replace").splitlines()
    for line in [line for line in lines if line.startswith(f"{part} ")][-_LOG_TAIL:]:
        warn(f"  {line}")


COMMANDS = {"demo": demo}
