"""What the broker is told, and what a ring may carry."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from redis import Redis

from tests.servers import REPOSITORY
from worker.app import BackgroundDoorbell, CeleryDoorbell, create_app
from worker.domain.doorbell import BULK, EVENTS, MAINTENANCE, TRANSACTIONAL, RecordingDoorbell
from worker.settings import Settings
from worker.steady import SteadyScheduler, SteadyTransport


@pytest.fixture
def settings(make_settings: Callable[..., Settings], redis_url: str) -> Settings:
    return make_settings(PRESSRUN_REDIS_URL=redis_url)


def test_each_ring_lands_in_its_queue_as_json_with_ids_only(settings: Settings, redis_client: Redis) -> None:
    bell = CeleryDoorbell(create_app(settings))
    bell.transactional(1)
    bell.plan(2)
    bell.bulk(0, 3, 4)
    bell.tidy(5)
    bell.drop(6)
    found = {}
    for queue in (EVENTS, TRANSACTIONAL, BULK, MAINTENANCE):
        tasks = [json.loads(raw) for raw in reversed(redis_client.lrange(f"pressrun:{queue}", 0, -1))]
        assert {task["content-type"] for task in tasks} == {"application/json"}
        found[queue] = [task["headers"]["argsrepr"] for task in tasks]
    assert found == {
        EVENTS: ["(2,)"], TRANSACTIONAL: ["(1,)"], BULK: ["(0, 3, 4)"], MAINTENANCE: ["(5,)", "(6,)"]
    }  # fmt: skip


def test_a_broker_that_is_away_does_not_raise(make_settings: Callable[..., Settings]) -> None:
    bell = CeleryDoorbell(create_app(make_settings(PRESSRUN_REDIS_URL="redis://127.0.0.1:1/0")))
    bell.transactional(1)


def test_a_worker_that_dies_gives_its_task_back_and_hoards_none(settings: Settings) -> None:
    conf = create_app(settings).conf
    assert conf.task_acks_late is True
    assert conf.task_reject_on_worker_lost is True
    assert conf.worker_prefetch_multiplier == 1
    assert conf.accept_content == ["json"]
    assert conf.task_ignore_result is True
    assert conf.result_backend is None
    assert conf.task_time_limit < conf.broker_transport_options["visibility_timeout"]


_GIVES_WAY = """
import sys
from worker.app import app
from worker.tasks import station
app.amqp.queues.select(sys.argv[1].split(","))
print(station().system.database.gives_way)
"""


@pytest.mark.parametrize(
    ("queues", "gives_way"),
    [("bulk,events,maintenance", True), ("transactional", False), ("bulk,transactional", False)],
)
def test_a_bulk_worker_lets_writers_of_others_go_first(tmp_path: Path, queues: str, gives_way: bool) -> None:
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), "PRESSRUN_VAR_DIR": str(tmp_path)}
    command = [sys.executable, "-c", _GIVES_WAY, queues]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60)
    assert done.stdout == f"{gives_way}\n", done.stderr


def test_a_tick_nobody_took_expires_with_the_next(settings: Settings) -> None:
    schedule = create_app(settings).conf.beat_schedule
    assert schedule["sweep"]["schedule"] == timedelta(seconds=settings.sweep_seconds)
    assert schedule["sweep"]["options"]["expires"] == settings.sweep_seconds


@pytest.mark.parametrize("url", ["", "redis://127.0.0.1:1/0", "rediss://127.0.0.1:1/0"])
def test_a_connection_that_was_given_up_is_a_lost_one(make_settings: Callable[..., Settings], url: str) -> None:
    """Over a socket, too. Celery ends its worker for any error that is not a lost connection."""
    with create_app(make_settings(PRESSRUN_REDIS_URL=url)).connection_for_read() as connection:
        transport = connection.transport
        channel = SteadyTransport.Channel.__new__(SteadyTransport.Channel)
        channel.connection = transport
        assert isinstance(transport, SteadyTransport)
        transport.client = None
        with pytest.raises(transport.connection_errors, match="given up"):
            channel._connparams()
        transport.client = connection


def test_a_clock_that_is_set_back_stops_no_schedule(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Celery's own scheduler waits until its clock is again where it was."""
    app = create_app(settings)
    now = datetime(2025, 2, 9, 14, 0, tzinfo=UTC)
    monkeypatch.setattr(app, "now", lambda: now)
    app.conf.beat_schedule = {"sweep": {"task": "sweep", "schedule": timedelta(seconds=5)}}
    scheduler = SteadyScheduler(app=app, schedule_filename=str(tmp_path / "schedule"))
    rung: list[datetime] = []
    monkeypatch.setattr(scheduler, "apply_entry", lambda *_, **__: rung.append(now))
    try:
        for seconds in (6, -3600, 6, 6):
            now += timedelta(seconds=seconds)
            while scheduler.tick() == 0:
                pass
    finally:
        scheduler.close()
    assert len(rung) == 3


def test_the_background_bell_rings_in_order() -> None:
    heard = RecordingDoorbell()
    bell = BackgroundDoorbell(heard)
    bell.plan(1)
    bell.transactional(2)
    bell.bulk(0, 1, 3)
    bell.tidy(4)
    bell.drop(5)
    bell.close()
    assert heard.rings == [("plan", 1), ("transactional", 2), ("bulk", 0, 1, 3), ("tidy", 4), ("drop", 5)]


def test_a_child_has_time_to_compile_before_it_says_that_it_is_up(settings: Settings) -> None:
    """Celery kills one that is not up after 4 s, and its successor: with many publications none would ever be."""
    assert create_app(settings).conf.worker_proc_alive_timeout >= 60
