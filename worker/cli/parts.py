"""`pressrun part NAME`: one part of the system in this process, as `up` and the compose file run them."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import click

from worker.cli.context import migrated_system, settings
from worker.cli.ports import require_password
from worker.cli.supervisor import SUPERVISOR
from worker.options import Settings

_PR_SET_PDEATHSIG = 1
Run = Callable[[], object]
"""A part that is imported and wired, and starts when it is called."""

# What every worker is started with: they need to know nothing of each other, only the ledger.
_QUIET = ("--without-gossip", "--without-mingle", "--pool=prefork")


def _api(settings: Settings) -> Run:
    import uvicorn

    from worker.app import BackgroundDoorbell, CeleryDoorbell, app
    from worker.logs import configure_logging
    from worker.web.app import create_app
    from worker.web.patience import patient_for

    web = create_app(migrated_system(BackgroundDoorbell(CeleryDoorbell(app))))
    configure_logging(settings.log_format, settings.log_level)
    _end_well_on_sigterm()
    # Forwarded addresses are believed by our own rule, `trusted_proxies`, not by uvicorn's.
    return lambda: uvicorn.run(
        web, host=settings.api_host, port=settings.api_port, log_config=None, proxy_headers=False,
        server_header=False, timeout_graceful_shutdown=5, http=patient_for(settings.request_timeout_seconds), ws="none",
    )  # fmt: skip


def _transactional(settings: Settings) -> Run:
    return _worker(settings, "transactional", "transactional", settings.transactional_processes)


def _bulk(settings: Settings) -> Run:
    # one process more than those that send, so that events are planned while all of them are busy
    return _worker(settings, "bulk", "bulk,events,maintenance", settings.bulk_processes + 1)


def _worker(settings: Settings, name: str, queues: str, processes: int) -> Run:
    # SIGTERM is left as it is: a warm shutdown, which takes no more tasks and ends with those it has, three seconds
    # at most. REMAP_SIGTERM=SIGQUIT (Celery's soft shutdown) was tried: it sleeps its whole time, work or not.
    import worker.tasks  # noqa: F401 - before the fork, so that children share it
    from worker.app import app

    return lambda: app.worker_main(
        ["worker", f"--hostname={name}@%h", f"--queues={queues}", f"--concurrency={processes}", "-E", *_QUIET,
         f"--loglevel={settings.log_level}"]
    )  # fmt: skip


def _scheduler(settings: Settings) -> Run:
    # before Celery names it: told to stop while it is read, it would ask for what is not there yet
    import worker.steady  # noqa: F401
    from worker.app import app

    settings.var_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    return lambda: app.start(["--quiet", "beat", f"--loglevel={settings.log_level}", "--pidfile="])


def _flower(settings: Settings) -> Run:
    require_password(settings)
    import structlog

    from worker.app import app
    from worker.logs import configure_logging

    configure_logging(settings.log_format, settings.log_level)
    if settings.flower_password:
        # by the environment, since a command line is everybody's to read
        os.environ["FLOWER_BASIC_AUTH"] = f"pressrun:{settings.flower_password}"
    _end_at_once_on_sigterm()
    structlog.get_logger(__name__).info("flower", address=f"http://{settings.flower_host}:{settings.flower_port}")
    return lambda: app.start(
        ["flower", f"--address={settings.flower_host}", f"--port={settings.flower_port}",
         "--max_tasks=5000", "--purge_offline_workers=300", "--enable_events=True"]
    )  # fmt: skip


def _redis(settings: Settings) -> Run:
    from worker.embedded import redis_command

    # read before the folder changes, since it is found from here
    socket = settings.redis_socket
    binary, config = redis_command(settings.var_dir, socket)
    folder = Path(config).parent
    # Names without folders, and a socket relative to here: the server shows both in its command line, where a
    # folder that happens to be called like another part would be taken for it.
    os.chdir(folder)
    near = os.path.relpath(socket, folder.resolve())
    return lambda: os.execv(binary, [Path(binary).name, Path(config).name, "--unixsocket", near])  # noqa: S606


def _inbox(settings: Settings) -> Run:
    from worker.inbox.server import serve
    from worker.logs import configure_logging

    configure_logging(settings.log_format, settings.log_level)
    _end_well_on_sigterm()
    return lambda: serve(settings.var_dir / "inbox", settings.api_host, settings.inbox_smtp_port, settings.inbox_port)


PARTS: dict[str, Callable[[Settings], Run]] = {
    "api": _api,
    "transactional": _transactional,
    "bulk": _bulk,
    "scheduler": _scheduler,
    "flower": _flower,
    "redis": _redis,
    "inbox": _inbox,
}


@click.command("part", short_help="Run one part of the system in this process.")
@click.argument("name", type=click.Choice(list(PARTS)))
def part(name: str) -> None:
    """Run one part of the system in this process.

    `redis` is the embedded server, `inbox` the demo's mailbox; the others need Redis and a migrated database.
    """
    _die_with_supervisor()
    # What is imported stays: looking through it for garbage is an eighth of the start. Frozen, it is left alone
    # for good, and a worker's children go on sharing its memory.
    gc.disable()
    run = PARTS[name](settings())
    gc.freeze()
    gc.enable()
    run()


def _end_well_on_sigterm() -> None:
    """uvicorn stops clean, then sends itself the signal again: by default that is a death by signal, status -15."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))


def _end_at_once_on_sigterm() -> None:
    """Flower keeps nothing, and its own end is none: it waits for threads that try a dead broker again, and its
    handler's SystemExit is lost where it meets a callback whose errors are ignored. So a thread of ours ends it.
    """
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)

    def end() -> None:
        signal.sigwait(signals)
        os._exit(0)

    threading.Thread(target=end, name="end", daemon=True).start()


def _die_with_supervisor() -> None:
    """Started by `up`, we end when it is killed: nobody would be there to stop us (Linux; it survives exec)."""
    supervisor = os.environ.pop(SUPERVISOR, "")
    if not supervisor or not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(supervisor):
        sys.exit("pressrun: the supervisor is gone")


COMMANDS = {"part": part}
