"""Thin tasks: ids in, a service called. One `Station` a process, made after the fork."""

from __future__ import annotations

import gc
import os
import sys
import warnings
from typing import TYPE_CHECKING, Any

import structlog
from celery import shared_task
from celery.platforms import SecurityWarning
from celery.signals import (
    celeryd_after_setup,
    celeryd_init,
    heartbeat_sent,
    setup_logging,
    worker_init,
    worker_process_init,
    worker_process_shutdown,
    worker_shutting_down,
)

from worker.app import CHUNK, DELIVER, DROP, PLAN, RETENTION, SWEEP, TIDY, CeleryDoorbell, app
from worker.domain.doorbell import BULK, TRANSACTIONAL
from worker.domain.errors import ConfigurationError
from worker.logs import configure_logging
from worker.settings import load_settings

if TYPE_CHECKING:
    from worker.crew import Member
    from worker.station import Station

log = structlog.get_logger(__name__)

_GARBAGE = 20_000

_station: Station | None = None
_member: Member | None = None


def station() -> Station:
    """This process's parts. Made after the fork, since nothing that is opened before may be shared."""
    global _station
    if _station is None:
        # Not above: the scheduler and Flower know the tasks by name and have no use for what is behind them.
        from worker.bootstrap import build
        from worker.station import Station

        system = build(load_settings(os.environ), os.environ, CeleryDoorbell(app))
        # who waits for an answer or for a confirmation does not wait for post
        system.database.gives_way = TRANSACTIONAL not in app.amqp.queues.consume_from
        _station = Station(system)
    return _station


@setup_logging.connect
def _logging(**_: Any) -> None:
    """Connected, so that Celery leaves the loggers alone."""
    settings = load_settings(os.environ)
    configure_logging(settings.log_format, settings.log_level)


@celeryd_init.connect
def _without_banner(instance: Any, **_: Any) -> None:
    """Before the first line of a worker, however it is started. Its banner shows what the next one says in a line."""
    instance.quiet = True
    # It warns whom it finds to be root that pickled tasks could run anything; ours are JSON with ids in it, and
    # in a container root is usual. What it raises where pickle is accepted is no warning, and stays.
    warnings.filterwarnings("ignore", category=SecurityWarning)


@celeryd_after_setup.connect
def _introduce(sender: str, instance: Any, **_: Any) -> None:
    queues = ", ".join(sorted(app.amqp.queues.consume_from))
    log.info("worker", name=sender, queues=queues, processes=instance.concurrency)
    if BULK in app.amqp.queues.consume_from:
        _join(sender, instance.concurrency)


def _join(name: str, processes: int) -> None:
    """One process is left to plan and to sweep while the others have turns."""
    global _member
    from worker.bootstrap import build
    from worker.crew import Member

    system = build(load_settings(os.environ), os.environ, CeleryDoorbell(app))
    _member = Member(system.crew, name, max(1, processes - 1))


@heartbeat_sent.connect
def _beat(**_: Any) -> None:
    if _member is not None:
        _member.beat()


@worker_shutting_down.connect
def _leave(**_: Any) -> None:
    if _member is not None:
        _member.leave()


@worker_init.connect
def _load(**_: Any) -> None:
    """Imported once before the fork, so that the children share it. A database of another version stops the start."""
    import worker.station  # noqa: F401
    from worker.storage.database import Database, DatabaseUnavailable
    from worker.storage.migrate import require_current

    database = Database(load_settings(os.environ).database)
    try:
        require_current(database)
    except DatabaseUnavailable as error:
        # it may come later; what a task needs of it waits
        log.warning("database_away", error=str(error))
    except ConfigurationError as error:
        sys.exit(f"pressrun: {error}")
    finally:
        database.close()


@worker_process_init.connect
def _forked(**_: Any) -> None:
    """A child never uses what its parent may have opened. What it will need for its first mail it reads now."""
    global _station
    _station = None
    # A mail makes some dozens of objects and hardly a cycle; by default all of them are looked at every 700.
    gc.set_threshold(_GARBAGE)
    composer = station().system.composer
    if TRANSACTIONAL in app.amqp.queues.consume_from:
        composer.warm_up()
    else:
        composer.rehearse()


@worker_process_shutdown.connect
def _leaving(**_: Any) -> None:
    """Finish or give back what is claimed."""
    if _station is not None:
        _station.close()


@shared_task(name=DELIVER)
def deliver_transactional(delivery_id: int) -> None:
    station().transact()


@shared_task(name=PLAN)
def plan_campaign(campaign_id: int) -> None:
    station().system.planner.run(campaign_id)


@shared_task(name=CHUNK)
def send_chunk(slot: int, number: int, campaign_id: int) -> None:
    station().chain.run(slot, number, campaign_id)


@shared_task(name=TIDY)
def tidy_campaign(campaign_id: int) -> None:
    station().system.control.tidy(campaign_id)


@shared_task(name=DROP)
def drop_deliveries(campaign_id: int) -> None:
    station().system.dropper.run(campaign_id)


@shared_task(name=SWEEP)
def sweep() -> None:
    station().sweep.run()


@shared_task(name=RETENTION)
def retention() -> None:
    station().retention.run()
