"""`pressrun up`: the whole system in one terminal, on embedded defaults."""

from __future__ import annotations

import asyncio
import os
import signal
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import click

from worker.cli.broker import redis_trouble
from worker.cli.context import settings as current_settings
from worker.cli.lines import worth_a_line
from worker.cli.output import say, without_secrets
from worker.cli.ports import Listener, free_port, listens, only_one, reachable, require_free, require_password
from worker.cli.supervisor import Part, StartFailed, Supervisor
from worker.cli.variables import UNREAD, unread
from worker.delivery.transports.choice import is_direct
from worker.delivery.transports.relay import read_relay
from worker.publications import load_publications
from worker.settings import PREFIX, Settings, load_settings

_COLORS = {
    "api": "cyan", "transactional": "green", "bulk": "magenta", "scheduler": "yellow", "flower": "bright_magenta",
    "redis": "red", "inbox": "blue", "pressrun": "bright_black",
}  # fmt: skip
WORKERS = ("transactional", "bulk")
# Workers first, while everything they need still runs; Redis last.
STOP_ORDER = (("scheduler", *WORKERS), ("api", "flower", "inbox"), ("redis",))
_PORTS = (("api", "api_host", "api_port"), ("flower", "flower_host", "flower_port"))
_INBOX_PORTS = (("inbox", "api_host", "inbox_port"), ("inbox", "api_host", "inbox_smtp_port"))
# A worker finishes what it has within `shutdown_seconds`; leaving the pool and the broker takes a moment more.
_AFTER_SHUTDOWN = 10.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be started: the parts, their environment, where each listens."""

    settings: Settings
    environ: Mapping[str, str]
    listeners: tuple[Listener, ...]
    first: tuple[Part, ...]
    """Those the others need: Redis."""
    then: tuple[Part, ...]


def plan(environ: Mapping[str, str], *, inbox: bool = False) -> Plan:
    """Read everything that can be wrong before anything is started. Raises `ConfigurationError`."""
    environ, settings = _with_ports(environ, _PORTS + (_INBOX_PORTS if inbox else ()))
    require_password(settings)
    load_publications(settings.config_dir, environ)
    _check_transport(settings)
    listeners = tuple(
        Listener(part, PREFIX + port.upper(), getattr(settings, host), getattr(settings, port))
        for part, host, port in _PORTS + (_INBOX_PORTS if inbox else ())
    )
    first = () if settings.redis_url else (Part("redis", probe=lambda: _redis_answers(settings)),)
    return Plan(settings, _for_parts(environ), listeners, first, tuple(_parts(settings, inbox=inbox)))


def _check_transport(settings: Settings) -> None:
    if is_direct(settings.smtp_url):
        # it takes a moment to import, which a relay can do without
        from worker.bootstrap import direct_wishes

        direct_wishes(settings).check()
        return
    read_relay(
        settings.smtp_url, helo=settings.smtp_helo, connect_timeout=settings.smtp_connect_timeout_seconds,
        verify=settings.smtp_verify, ca_file=settings.smtp_ca_file,
    )  # fmt: skip


def _with_ports(
    environ: Mapping[str, str], ports: tuple[tuple[str, str, str], ...]
) -> tuple[dict[str, str], Settings]:
    """Port 0 means any: chosen here, since every part must know the same one."""
    settings = load_settings(environ)
    chosen = {
        PREFIX + port.upper(): str(free_port(getattr(settings, host)))
        for _, host, port in ports
        if getattr(settings, port) == 0
    }
    together = {**environ, **chosen}
    return together, load_settings(together) if chosen else settings


def _for_parts(environ: Mapping[str, str]) -> dict[str, str]:
    # unbuffered: a part's last words before it dies are the ones that matter
    return {**environ, "PYTHONUNBUFFERED": "1"}


def _parts(settings: Settings, *, inbox: bool) -> list[Part]:
    patience = settings.shutdown_seconds + _AFTER_SHUTDOWN
    told = settings.log_level in ("DEBUG", "INFO")  # Celery says that it is ready at INFO
    host = reachable(settings.api_host)
    parts = [
        Part("api", probe=lambda: _is_up(f"http://{host}:{settings.api_port}/healthz")),
        _worker("transactional", patience, told=told),
        _worker("bulk", patience, told=told),
        Part("scheduler", ready_word="beat: Starting") if told else Part("scheduler", probe=_at_once),
        Part("flower", probe=lambda: listens(settings.flower_host, settings.flower_port)),
    ]
    if inbox:
        parts.append(Part("inbox", probe=lambda: _inbox_listens(settings)))
    return parts


def _worker(name: str, patience: float, *, told: bool) -> Part:
    if told:
        return Part(name, ready_word=" ready.", stop_seconds=patience)
    return Part(name, probe=_at_once, stop_seconds=patience)


def _not_awaited(part: Part) -> Part:
    return replace(part, ready_word="", probe=_at_once) if part.name in WORKERS else part


def _at_once() -> bool:
    return True


def _inbox_listens(settings: Settings) -> bool:
    return all(listens(settings.api_host, port) for port in (settings.inbox_smtp_port, settings.inbox_port))


def _redis_answers(settings: Settings) -> bool:
    return not redis_trouble(settings, 5)


def _is_up(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - our own address
            status: int = answer.status
            return status == 200
    except (OSError, urllib.error.URLError):
        return False


@asynccontextmanager
async def running(
    plan: Plan, say_line: Callable[[str, str], None], *, broker: bool = True
) -> AsyncIterator[Supervisor]:
    """Everything of the plan, started and ready; stopped in order on leaving.

    Without `broker`, a Redis that answers, the workers are not waited for: they are ready when it is there.
    """
    supervisor = Supervisor(plan.environ, say_line)
    try:
        migrating = asyncio.create_task(supervisor.run_once("database", ("db", "upgrade")))
        await supervisor.start(plan.first)
        if await migrating:
            raise StartFailed("database", "could not be migrated; its last lines say why")
        await supervisor.start(plan.then if broker else [_not_awaited(part) for part in plan.then])
        yield supervisor
    finally:
        await _stop(supervisor)


async def _stop(supervisor: Supervisor) -> None:
    """In order; a second signal while it lasts ends everything at once."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, supervisor.kill)
    await supervisor.stop(STOP_ORDER)


def given_redis_trouble(settings: Settings) -> str:
    """What is wrong with the Redis that a setting names, looked at once; empty for one of our own."""
    return redis_trouble(settings, 0) if settings.redis_url else ""


def run_under_signals(main: Awaitable[int], *, interrupted: int) -> int:
    """Run to the end; SIGINT and SIGTERM cancel it, which stops everything in order, and `interrupted` is returned."""

    async def body() -> int:
        task = asyncio.ensure_future(main)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, task.cancel)
        try:
            return await task
        except asyncio.CancelledError:
            return interrupted

    return asyncio.run(body())


def prefixed(part: str, line: str) -> None:
    """Print a part's line behind its name, if it tells somebody something."""
    if worth_a_line(line):
        say(f"{click.style(f'{part:13}', fg=_COLORS.get(part))} {without_secrets(line)}")


def addresses(settings: Settings, *, inbox: bool = False) -> list[tuple[str, str]]:
    """Where to look, for people: what and its address."""
    api = f"http://{reachable(settings.api_host)}:{settings.api_port}"
    found = [
        ("API and its docs", f"{api}/docs"),
        ("Sign-up form", f"{api}/p/{next(iter(load_publications(settings.config_dir, os.environ)))}/subscribe"),
        ("Flower (queues)", f"http://{reachable(settings.flower_host)}:{settings.flower_port}"),
    ]
    if inbox:
        found.append(("Inbox", f"http://{reachable(settings.api_host)}:{settings.inbox_port}"))
    return found


@click.command("up", short_help="Start the whole system in this terminal.")
def up() -> int:
    """Start the whole system in this terminal.

    Redis (embedded unless PRESSRUN_REDIS_URL is set), the API, the transactional and the bulk worker, the scheduler
    and Flower, on a migrated database. A part that dies is started again. Ctrl-C stops everything in order.
    """
    current_settings()
    planned = plan(os.environ)
    for name in unread(os.environ, planned.settings.config_dir):
        prefixed("pressrun", f"{name}: {UNREAD}")
    with only_one(planned.settings.var_dir):
        require_free(planned.listeners)
        # being told to stop is how it ends: no error
        return run_under_signals(_up(planned), interrupted=0)


async def _up(planned: Plan) -> int:
    trouble = await asyncio.to_thread(given_redis_trouble, planned.settings)
    if trouble:
        prefixed("pressrun", f"{trouble}. Still trying: events are accepted meanwhile, mail goes out once it answers")
    async with running(planned, prefixed, broker=not trouble) as supervisor:
        say()
        for what, where in addresses(planned.settings):
            say(f"  {what:18} {where}")
        say(f"  {'Files':18} {planned.settings.var_dir.resolve()}")
        say("\nPressrun is up. Ctrl-C stops it.\n")
        await supervisor.failed()
    return 0


COMMANDS = {"up": up}
