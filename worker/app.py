"""The Celery app: queues, routes, schedule, and the doorbell that rings it.

The broker loses and doubles tasks; the ledger does not. So a task is a hint with ids in it, nothing is
delayed in the broker, and a failed ring is left to the sweep.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import BoundedSemaphore

import structlog
from celery import Celery
from kombu.entity import Exchange, Queue
from kombu.exceptions import KombuError
from kombu.transport import TRANSPORT_ALIASES
from redis.exceptions import RedisError

from worker.domain.doorbell import BULK, EVENTS, KEY_PREFIX, MAINTENANCE, QUEUES, TRANSACTIONAL, Doorbell
from worker.domain.errors import ConfigurationError
from worker.settings import Settings, load_settings

log = structlog.get_logger(__name__)

EXCHANGE = Exchange("pressrun", type="direct")

PLAN = "pressrun.plan_campaign"
DELIVER = "pressrun.deliver_transactional"
CHUNK = "pressrun.send_chunk"
TIDY = "pressrun.tidy_campaign"
DROP = "pressrun.drop_deliveries"
SWEEP = "pressrun.sweep"
RETENTION = "pressrun.retention"

ROUTES = {PLAN: EVENTS, DELIVER: TRANSACTIONAL, CHUNK: BULK, TIDY: MAINTENANCE, DROP: MAINTENANCE,
          SWEEP: MAINTENANCE, RETENTION: MAINTENANCE}  # fmt: skip

# The same for every process and Flower: a process with another visibility timeout would restore what
# another one is still working on.
TRANSPORT_OPTIONS = {
    "visibility_timeout": 600,
    # how often lost tasks are looked for; the default is much longer than a reader waits
    "unacked_restore_interval": 10,
    # a frozen Redis must not freeze us
    "socket_timeout": 10,
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
    "health_check_interval": 25,
    # it would replay pushes: a doubled doorbell for nothing
    "retry_on_timeout": False,
    "global_keyprefix": KEY_PREFIX,
}


def configuration(settings: Settings) -> dict[str, object]:
    """Celery's settings, each with its reason."""
    return {
        "broker_url": settings.broker,
        "broker_transport_options": TRANSPORT_OPTIONS,
        # wait for a Redis that starts after us, and never give up on one that went away (default: 100 tries)
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        # a ring is a hint: try twice, then leave it to the sweep
        "task_publish_retry_policy": {"max_retries": 1, "interval_start": 0.2},
        # JSON only: a broker that others can write to must not run code here
        "task_serializer": "json",
        "accept_content": ["json"],
        # state lives in the ledger
        "task_ignore_result": True,
        # a typo must not make a queue that nobody reads
        "task_create_missing_queues": False,
        # keys of their own: by default all four would be bound to the exchange of the default queue, with its key
        "task_queues": [Queue(name, EXCHANGE, routing_key=name) for name in QUEUES],
        "task_default_queue": MAINTENANCE,
        "task_routes": {name: {"queue": queue} for name, queue in ROUTES.items()},
        # survive kills: a task is done when it has returned
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        # the sweep retries; a task that fails at once must not loop hot
        "task_acks_on_failure": True,
        "task_acks_on_timeout": True,
        # no hoarding: a waiting task belongs to whoever is free first
        "worker_prefetch_multiplier": 1,
        # below the visibility timeout, or a long task would be started twice
        "task_soft_time_limit": 120,
        "task_time_limit": 180,
        # True would kill a conversation in the middle of DATA; the claim in the ledger protects
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        # a child of the transactional worker compiles each publication's confirmation before it says that it is up;
        # one that is not up in time (4 s by default) would be killed, and its successor too
        "worker_proc_alive_timeout": 60.0,
        # leaks (celery #4843); a chunk is three seconds
        "worker_max_tasks_per_child": 500,
        # Flower needs the first; the second makes a metric label for each producer
        "worker_send_task_events": True,
        "task_send_sent_event": False,
        "worker_hijack_root_logger": False,
        "timezone": "UTC",
        "beat_schedule": _schedule(settings),
        # a clock that is set back must not stop the sweep
        "beat_scheduler": "worker.steady:SteadyScheduler",
        "beat_schedule_filename": str(settings.var_dir / "schedule"),
    }


def _schedule(settings: Settings) -> dict[str, object]:
    """A tick that was not taken up before the next one is worthless, so it expires."""
    sweep = timedelta(seconds=settings.sweep_seconds)
    hour = timedelta(hours=1)
    return {
        "sweep": {"task": SWEEP, "schedule": sweep, "options": {"expires": sweep.total_seconds()}},
        "retention": {"task": RETENTION, "schedule": hour, "options": {"expires": hour.total_seconds()}},
    }


def create_app(settings: Settings) -> Celery:
    """The app with its tasks; nothing connects before the first use."""
    # A broker that dies must not take its workers along. By their scheme: in the URL of a socket it wins over the
    # setting `broker_transport`.
    TRANSPORT_ALIASES.update(dict.fromkeys(("redis", "rediss"), "worker.steady:SteadyTransport"))
    celery = Celery("pressrun", set_as_current=True)
    celery.conf.update(configuration(settings))
    celery.conf.imports = ("worker.tasks",)
    return celery


class CeleryDoorbell:
    """Rings tasks by name. A ring that fails is logged and forgotten: the sweep finds what it was for."""

    def __init__(self, celery: Celery) -> None:
        self._celery = celery

    def transactional(self, delivery_id: int) -> None:
        self._ring(DELIVER, delivery_id)

    def plan(self, campaign_id: int) -> None:
        self._ring(PLAN, campaign_id)

    def bulk(self, slot: int, number: int, campaign_id: int) -> None:
        self._ring(CHUNK, slot, number, campaign_id)

    def tidy(self, campaign_id: int) -> None:
        self._ring(TIDY, campaign_id)

    def drop(self, campaign_id: int) -> None:
        self._ring(DROP, campaign_id)

    def _ring(self, name: str, *ids: int) -> None:
        try:
            self._celery.send_task(name, args=ids, queue=ROUTES[name])
        except (KombuError, RedisError, OSError) as error:
            log.warning("ring_failed", task=name, ids=ids, error=type(error).__name__)


class BackgroundDoorbell:
    """Rings from a thread of its own, so that a frozen broker does not hold up an answer."""

    PENDING = 1000

    def __init__(self, doorbell: Doorbell) -> None:
        self._doorbell = doorbell
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="doorbell")
        self._free = BoundedSemaphore(self.PENDING)

    def transactional(self, delivery_id: int) -> None:
        self._later(self._doorbell.transactional, delivery_id)

    def plan(self, campaign_id: int) -> None:
        self._later(self._doorbell.plan, campaign_id)

    def bulk(self, slot: int, number: int, campaign_id: int) -> None:
        self._later(self._doorbell.bulk, slot, number, campaign_id)

    def tidy(self, campaign_id: int) -> None:
        self._later(self._doorbell.tidy, campaign_id)

    def drop(self, campaign_id: int) -> None:
        self._later(self._doorbell.drop, campaign_id)

    def close(self) -> None:
        """Ring what is waiting, then end."""
        self._threads.shutdown()

    def _later(self, ring: Callable[..., None], *ids: int) -> None:
        """Drops the ring when a thousand are waiting already: the sweep is quicker than that broker."""
        if self._free.acquire(blocking=False):
            self._threads.submit(ring, *ids).add_done_callback(lambda _: self._free.release())


def _from_environment() -> Celery:
    """What `celery -A worker.app` finds. A wrong setting stops the start with one clear line."""
    try:
        return create_app(load_settings(os.environ))
    except ConfigurationError as error:
        sys.exit(f"pressrun: {error}")


app = _from_environment()
