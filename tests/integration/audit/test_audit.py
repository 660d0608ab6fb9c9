"""The audit as a whole: queues in a real Redis, journals on this host, and what the command says and mends."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from sqlalchemy import delete, insert, select, text

from tests.integration.campaigns.readers import set_status
from tests.integration.cli.test_commands import environ, here, migrated  # noqa: F401 - fixtures
from tests.ledger import assert_counters_agree, seed_campaign, statuses
from worker.app import CeleryDoorbell, create_app
from worker.audit import outside
from worker.audit.findings import Finding, Kind
from worker.bootstrap import System, build
from worker.cli import root
from worker.delivery.claim import Claimer
from worker.delivery.gates import RedisBreakers
from worker.delivery.journal import Journal
from worker.domain.breaker import Breaker
from worker.domain.clock import FakeClock, SystemClock
from worker.domain.doorbell import KEY_PREFIX, QUEUES, RecordingDoorbell
from worker.settings import Settings
from worker.storage import ledger, migrate
from worker.storage.database import Database
from worker.storage.models import EventRow, LeaseRow, SlotRow, TallyRow


@pytest.fixture
def system(
    make_settings: Callable[..., Settings], empty_database_url: str, redis_url: str, clock: FakeClock
) -> Iterator[System]:
    settings = make_settings(PRESSRUN_DATABASE_URL=empty_database_url, PRESSRUN_REDIS_URL=redis_url)
    one = build(settings, {}, RecordingDoorbell())
    one.clock = clock
    migrate.upgrade(one.database)
    yield one
    one.database.close()
    one.redis.close()


def kinds(findings: list[Finding]) -> set[Kind]:
    return {one.kind for one in findings}


def test_a_system_that_works(system: System) -> None:
    seed_campaign(system.database, system.clock.now(), 3)
    system.guard.beat()
    with system.database.write() as connection:
        connection.execute(insert(SlotRow).values(slot=0, rung=1, started=1, touched_at=system.clock.now()))
    assert system.audit.quick() == []
    assert list(system.audit.thorough()) == []


def test_a_database_at_another_migration_says_that_alone(system: System) -> None:
    with system.database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    (one,) = system.audit.quick()
    assert (one.kind, one.fix) == (Kind.MIGRATION, "`pressrun db upgrade`")


def test_tasks_that_nobody_takes(system: System) -> None:
    """As Celery itself puts them there, by names and a prefix that both sides must mean."""
    system.guard.beat()
    bell = CeleryDoorbell(create_app(system.settings))
    for number in range(55):
        bell.tidy(number)
        bell.bulk(0, number, 1)
    assert system.audit.depths() == {"events": 0, "transactional": 0, "bulk": 55, "maintenance": 55}
    (one, other) = system.audit.quick()
    assert (one.kind, one.n, other.kind, other.n) == (Kind.QUEUE_UNREAD, 55, Kind.QUEUE_UNREAD, 55)
    assert "for 2 that are due" in one.words
    assert "for 0 that are due" in other.words


def test_what_stands_still_and_nobody_was_told(system: System, clock: FakeClock) -> None:
    seed_campaign(system.database, clock.now(), 3)
    clock.advance(seconds=61)
    system.guard.beat()
    assert kinds(system.audit.quick()) == {Kind.CHAINS_SILENT, Kind.DOORBELL_LOST}
    CeleryDoorbell(create_app(system.settings)).bulk(0, 1, 1)
    assert kinds(system.audit.quick()) == {Kind.CHAINS_SILENT}


def test_a_limit_that_is_closed_is_worth_knowing_and_no_fault(system: System) -> None:
    system.guard.beat()
    name = system.limits.names[0]
    system.limiter.pause(name, 60, "421 too fast")
    (one,) = system.audit.quick()
    assert (one.kind, one.wrong) == (Kind.LIMIT_CLOSED, False)
    # a busy machine may take its time between the two
    assert re.match(rf"limit {name} is closed for (60|[1-5]?[0-9]) s: 421 too fast", one.words)


def test_what_throttles_is_worth_knowing_and_no_fault(system: System) -> None:
    """A relay's or, going direct, those of thousands of servers: the longest first."""
    system.guard.beat()
    for number in range(5):
        system.breakers.trip(f"mx:{number}.example", None, "450 4.7.1 later")
    system.breakers.sync()
    now = system.clock.ticks()
    RedisBreakers(system.redis).keep("relay", Breaker(3, now, 1, why="421 4.7.0 too fast"))
    (one,) = system.audit.quick()
    assert (one.kind, one.n, one.wrong) == (Kind.BREAKER_OPEN, 6, False)
    assert one.words.startswith("6 breakers are not whole: relay (3 in a row: 421 4.7.0 too fast), mx:4.example (1 in")
    assert one.words.endswith(", …")


def test_a_redis_that_is_away(system: System) -> None:
    system.guard.beat()
    system.redis.close()
    system.redis = Redis(host="127.0.0.1", port=1, retry=Retry(NoBackoff(), 0))
    (one,) = system.audit.quick()
    assert one.kind is Kind.REDIS_AWAY


def test_journals_of_the_dead_are_named_and_left_where_they_are(tmp_path: Path) -> None:
    alive, dead, young = Journal(tmp_path), Journal(tmp_path), Journal(tmp_path)
    for one in (dead, young):
        os.close(one._fd)
    for one in (alive, dead):
        os.utime(one.path, (1, 1))
    (found,) = outside.journals_left(tmp_path)
    assert (found.n, dead.path.name in found.words) == (1, True)
    assert dead.path.exists()
    assert list(outside.journals_left(tmp_path / "nowhere")) == []
    alive.close()


def test_names_of_queues_are_the_same_for_both() -> None:
    assert set(outside._RUNG_BY.values()) < set(QUEUES)
    assert KEY_PREFIX.endswith(":")


# -- the command


@pytest.fixture
def ledger_of_command(environ: dict[str, str]) -> Iterator[Database]:  # noqa: F811
    database = Database(f"sqlite:///{Path(environ['PRESSRUN_VAR_DIR']) / 'pressrun.db'}")
    yield database
    database.close()


@pytest.mark.usefixtures("here")
def test_the_command_names_what_is_wrong_and_mends_it(
    ledger_of_command: Database, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, redis_url: str
) -> None:
    monkeypatch.setenv("PRESSRUN_REDIS_URL", redis_url)
    database, now = ledger_of_command, SystemClock().now()
    seeded = seed_campaign(database, now, 10)
    set_status(database, seeded.deliveries[:3], "deferred", next_attempt_at=now - timedelta(minutes=5))
    Claimer(database, FakeClock(now - timedelta(minutes=10)), "elsewhere:1.journal", timedelta(seconds=30)).campaign(
        seeded.campaign_id, {"": 2}
    )
    with database.write() as connection:
        connection.execute(insert(EventRow).values(
            publication="daily", source="s", event_id="e", type="post.published", received_at=now, body_hash="x",
            data={}, status="accepted", note="",
        ))  # fmt: skip
        connection.execute(delete(TallyRow).where(TallyRow.status == "deferred"))

    def findings(*arguments: str) -> dict[str, str]:
        assert root.run(["audit", "--json", *arguments]) == 1
        said = json.loads(capsys.readouterr().out)
        assert not said["ok"]
        return {one["kind"]: one["fix"] for one in said["findings"]}

    assert findings() == {
        "sweep_silent": Finding.of(Kind.SWEEP_SILENT, 1, "").fix,
        "lease_expired": "`pressrun audit --mend`", "retry_overdue": "`pressrun audit --mend`",
        "tally_wrong": "`pressrun audit --mend`", "event_without_effect": "`pressrun replay --all`",
    }  # fmt: skip
    assert set(findings("--quick")) == {"sweep_silent", "lease_expired", "retry_overdue"}
    assert root.run(["audit", "--mend"]) == 1
    said = capsys.readouterr().out
    assert "mended: expired_leases 1" in said
    assert "mended: due_retries 3" in said
    assert "mended: 1 slice(s) counted again" in said
    # its own sweep is no sign that the others run
    assert "WRONG  sweep_silent: no sweep has ever been through" in said
    assert "start a bulk worker" in said
    assert set(findings()) == {"sweep_silent", "event_without_effect"}
    assert statuses(database) == {"queued": 10}
    assert_counters_agree(database)
    with database.read() as connection:
        assert connection.execute(select(LeaseRow)).all() == []


@pytest.mark.usefixtures("here")
def test_the_command_mends_whatever_else_names_it_as_its_fix(
    ledger_of_command: Database, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, redis_url: str
) -> None:
    monkeypatch.setenv("PRESSRUN_REDIS_URL", redis_url)
    database, early = ledger_of_command, SystemClock().now() - timedelta(minutes=5)
    over = seed_campaign(database, early, 3, post_id="over")
    set_status(database, over.deliveries, "sent")
    going = seed_campaign(database, early, 6, post_id="going")
    set_status(database, going.deliveries[:2], "sending", lease_id=999)
    set_status(database, going.deliveries[2:4], "deferred", next_attempt_at=early, expires_at=early)
    with database.write() as connection:
        ledger.advance(connection, SystemClock().now())

    def fixes() -> dict[str, str]:
        root.run(["audit", "--json"])
        return {one["kind"]: one["fix"] for one in json.loads(capsys.readouterr().out)["findings"]}

    wrong = {kind for kind, fix in fixes().items() if fix == "`pressrun audit --mend`"}
    assert wrong == {"sending_without_lease", "expiry_overdue", "retry_overdue", "campaign_unfinished", "doorbell_lost"}
    root.run(["audit", "--mend"])
    capsys.readouterr()
    assert wrong & set(fixes()) == set()
    assert_counters_agree(database)


@pytest.mark.usefixtures("here")
def test_the_command_says_when_nothing_is_wrong(
    ledger_of_command: Database, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, redis_url: str
) -> None:
    monkeypatch.setenv("PRESSRUN_REDIS_URL", redis_url)
    with ledger_of_command.write() as connection:
        ledger.advance(connection, SystemClock().now())
    assert root.run(["audit"]) == 0
    assert capsys.readouterr().out == "nothing is wrong\n"
    assert root.run(["audit", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"ok": True, "findings": []}
    assert root.run(["audit", "--mend"]) == 0
    assert capsys.readouterr().out == "there was nothing to mend\nnothing is wrong\n"


@pytest.mark.usefixtures("here")
def test_a_restore_is_said_and_released_by_hand(
    ledger_of_command: Database, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, redis_url: str
) -> None:
    monkeypatch.setenv("PRESSRUN_REDIS_URL", redis_url)

    def said(*arguments: str, code: int = 0) -> str:
        assert root.run(arguments) == code
        return capsys.readouterr().out

    seed_campaign(ledger_of_command, SystemClock().now(), 3)
    assert said("db", "release") == "nothing is held\n"
    assert "sending is held; `pressrun db release` says" in said("db", "restored")
    assert said("db", "restored") == "sending is held already\n"
    shown = said("status")
    assert shown.startswith("SENDING IS HELD since ")
    assert "campaign 1 (daily, post post-1): 3" in shown
    assert json.loads(said("status", "--json"))["held"]["why"] == "an operator said that it was restored from a copy"
    assert "sending_held" in said("audit", "--quick", code=1)
    assert "pressrun db release --yes" in said("db", "release", code=1)
    assert "released: sending goes on" in said("db", "release", "--yes")
    assert "held" not in json.loads(said("status", "--json"))
