"""Health, metrics, documentation, and what is answered when something is down or there is nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import APIRouter
from redis import Redis
from sqlalchemy import insert

from tests.integration.web.serving import serving
from tests.integration.web.test_events import fields, post, rows
from tests.ledger import seed_campaign
from tests.servers import RedisServer
from tests.unit.intake.making import TOKEN, sample
from worker.bootstrap import System, build
from worker.domain.clock import FakeClock
from worker.domain.doorbell import RecordingDoorbell
from worker.domain.warmup import Lane, Warmup
from worker.settings import Settings
from worker.storage.database import Database
from worker.storage.migrate import upgrade
from worker.storage.models import SliceRow, TallyRow, WarmupDayRow
from worker.web.app import create_app

MIGRATED = pytest.mark.usefixtures("migrated")


@pytest.fixture
def migrated(system: System, empty_database_url: str) -> None:
    """A database made by the migrations, which is what readiness asks for."""
    system.database.close()
    system.database = Database(empty_database_url)
    upgrade(system.database)


def test_alive(url: str) -> None:
    assert httpx.get(f"{url}/healthz").json() == {"status": "ok"}


@MIGRATED
def test_ready(url: str) -> None:
    answer = httpx.get(f"{url}/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "database": "ok", "redis": "ok"})


def test_a_database_without_migrations_is_not_ready(url: str) -> None:
    answer = httpx.get(f"{url}/readyz")
    assert (answer.status_code, fields(answer)) == (503, ["database"])
    assert "pressrun db upgrade" in answer.json()["detail"]


@pytest.fixture
def stopped_redis(tmp_path: Path) -> Iterator[RedisServer]:
    folder = tmp_path / "r"
    folder.mkdir()
    server = RedisServer(folder)
    yield server
    server.stop()


@MIGRATED
@pytest.mark.parametrize("backend", ["sqlite"])
def test_without_redis_events_are_still_taken(
    system: System, stopped_redis: RedisServer, doorbell: RecordingDoorbell
) -> None:
    system.redis = Redis.from_url(stopped_redis.url, socket_timeout=2)
    with serving(create_app(system)) as url, httpx.Client(base_url=url, timeout=20) as http:
        answer = http.get("/readyz")
        assert (answer.status_code, fields(answer)) == (503, ["redis"])
        assert post(http, sample("post-published"), Authorization=f"Bearer {TOKEN}").status_code == 202
        metrics = http.get("/metrics").text
    assert 'pressrun_up{part="redis"} 0.0' in metrics
    assert 'pressrun_up{part="database"} 1.0' in metrics


class _BrokenDoorbell(RecordingDoorbell):
    def transactional(self, delivery_id: int) -> None:
        raise ConnectionError("the broker is gone")


def test_a_ring_that_fails_does_not_fail_the_request(system: System) -> None:
    broken = build(system.settings, {"PRESSRUN_DAILY_TOKEN": TOKEN}, _BrokenDoorbell())
    with serving(create_app(broken)) as url, httpx.Client(base_url=url, timeout=20) as http:
        answer = post(http, sample("subscriber-created"), Authorization=f"Bearer {TOKEN}")
    assert answer.status_code == 202
    assert rows(broken)["deliveries"] == 1
    broken.database.close()


def test_a_database_that_is_gone_is_a_503_without_its_address(
    make_settings: Callable[..., Settings], config_dir: Path, redis_url: str, tmp_path: Path
) -> None:
    for database_url in ("postgresql://u:secretword@127.0.0.1:1/none", f"sqlite:///{tmp_path}/no/folder/p.db"):
        settings = make_settings(
            PRESSRUN_CONFIG=str(config_dir / "pressrun.toml"), PRESSRUN_DATABASE_URL=database_url,
            PRESSRUN_REDIS_URL=redis_url,
        )  # fmt: skip
        system = build(settings, {"PRESSRUN_DAILY_TOKEN": TOKEN}, RecordingDoorbell())
        with serving(create_app(system)) as url, httpx.Client(base_url=url, timeout=20) as http:
            answer = post(http, sample("post-published"), Authorization=f"Bearer {TOKEN}")
            assert (answer.status_code, fields(answer)) == (503, [])
            assert int(answer.headers["retry-after"]) > 0
            assert fields(http.get("/readyz")) == ["database"]
            for text in (answer.text, http.get("/readyz").text, http.get("/metrics").text):
                assert "secretword" not in text
                assert "127.0.0.1" not in text
                assert str(tmp_path) not in text
        system.database.close()
        system.redis.close()


@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_database_that_cannot_be_written_is_a_503(http: httpx.Client, system: System, tmp_path: Path) -> None:
    """As on a read-only disk; root writes in spite of modes, so the file is taken away from under it instead."""
    path = tmp_path / "pressrun.db"
    system.database.close()
    path.rename(tmp_path / "aside.db")
    path.mkdir()
    answer = post(http, sample("post-published"))
    assert (answer.status_code, fields(answer)) == (503, [])
    path.rmdir()
    (tmp_path / "aside.db").rename(path)
    assert post(http, sample("post-published")).status_code == 202


def test_metrics_come_from_the_counters(http: httpx.Client, system: System, clock: FakeClock) -> None:
    seed_campaign(system.database, clock.now(), 3)
    with system.database.write() as connection:
        # a reason, and a shard of a transactional kind
        slice_id = connection.execute(
            insert(SliceRow).values(publication="daily", kind="confirmation", shard=1).returning(SliceRow.id)
        ).scalar_one()
        tally = {"slice_id": slice_id, "status": "bounced", "reason": "bad_address", "n": 2}
        connection.execute(insert(TallyRow).values(tally))
    clock.advance(seconds=30)
    answer = http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    lines = answer.text.splitlines()
    assert 'pressrun_deliveries{kind="new_post",publication="daily",reason="",status="queued"} 3.0' in lines
    labels = 'kind="confirmation",publication="daily",reason="bad_address",status="bounced"'
    assert f"pressrun_deliveries{{{labels}}} 2.0" in lines
    assert 'pressrun_queue_depth{lane="bulk"} 3.0' in lines
    assert 'pressrun_queue_oldest_seconds{lane="bulk"} 30.0' in lines
    assert 'pressrun_up{part="redis"} 1.0' in lines


def test_metrics_tell_of_domains_that_warm_up(http: httpx.Client, system: System, clock: FakeClock) -> None:
    """Of two publications that send by one domain, one line; of a domain that is not new, none."""
    one = Warmup("blog.example", clock.now().date(), (40, 80), 0.1)
    system.__dict__["warmups"] = {"daily": one, "other": one}
    seed_campaign(system.database, clock.now(), 30)
    with system.database.write() as connection:
        for lane, n in ((Lane.BULK, 20), (Lane.TRANSACTIONAL, 3)):
            counter = {"domain": "blog.example", "day": clock.now().date(), "lane": lane, "used": n}
            connection.execute(insert(WarmupDayRow).values(counter))
    lines = [line for line in http.get("/metrics").text.splitlines() if line.startswith("pressrun_warmup_")]
    assert lines == [
        'pressrun_warmup_used{domain="blog.example"} 23.0',
        'pressrun_warmup_allowance{domain="blog.example"} 40.0',
        'pressrun_warmup_waiting{domain="blog.example"} 14.0',
    ]


@pytest.mark.parametrize("backend", ["sqlite"])
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nothing", 404), ("PUT", "/v1/events", 405), ("DELETE", "/v1/campaigns/1", 405), ("GET", "/v1", 404)],
)
def test_where_there_is_nothing(http: httpx.Client, method: str, path: str, status: int) -> None:
    answer = http.request(method, path)
    assert (answer.status_code, fields(answer)) == (status, [])
    if status == 405:
        assert answer.headers["allow"]


@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_fault_of_ours_shows_no_traceback(system: System) -> None:
    app = create_app(system)
    router = APIRouter()

    @router.get("/fault")
    def fault() -> None:
        raise RuntimeError("the secret inside")

    app.include_router(router)
    with serving(app) as url:
        answer = httpx.get(f"{url}/fault")
    assert (answer.status_code, fields(answer)) == (500, [])
    assert "secret inside" not in answer.text
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("backend", ["sqlite"])
def test_the_documentation_shows_bodies_examples_and_every_answer(http: httpx.Client) -> None:
    page = http.get("/docs")
    assert page.status_code == 200
    # all of it comes from here: nothing is asked of a CDN
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(loaded) >= 3
    assert {http.get(one).status_code for one in loaded} == {200}
    assert "//" not in "".join(loaded)
    spec = http.get("/openapi.json").json()
    operation = spec["paths"]["/v1/events"]["post"]
    examples = operation["requestBody"]["content"]["application/cloudevents+json"]["examples"]
    assert examples["post.published"]["value"] == sample("post-published")
    assert set(operation["responses"]) == {"200", "202", "401", "409", "413", "415", "422", "503"}
    for path, operations in spec["paths"].items():
        for method, one in operations.items():
            assert one.get("summary"), (method, path)
            if path.startswith("/v1/campaigns"):
                assert {"200", "401", "404", "422", "503"} <= set(one["responses"]), (method, path)
            problems = [answer for status, answer in one["responses"].items() if status >= "400"]
            for problem in problems if path.startswith(("/v1/", "/readyz")) else ():
                assert list(problem["content"]) == ["application/problem+json"], (method, path)
    assert json.dumps(spec)


@MIGRATED
def test_metrics_show_who_throttles(http: httpx.Client, system: System) -> None:
    system.breakers.trip("destination:google", 600.0, "421 4.7.28 too fast")
    system.breakers.sync()
    metrics = http.get("/metrics").text
    assert 'pressrun_breaker_failures{breaker="destination:google",state="open"} 1.0' in metrics
    assert 'pressrun_breaker_opens_in_seconds{breaker="destination:google",state="open"} ' in metrics
