"""A ledger that went back in time starts held and says what it would send; nothing else is taken for one that did."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from sqlalchemy import func, select
from structlog.testing import capture_logs

from tests.ledger import seed_campaign
from tests.servers import PostgresServer
from worker.campaigns import glance_queries, turn_queries
from worker.delivery import queries
from worker.delivery.claim import Claim, Claimer
from worker.delivery.guard import SLIP_SECONDS, Guard
from worker.delivery.witnesses import FileWitness, Memory, RedisWitness, Unreachable
from worker.domain.clock import FakeClock
from worker.domain.delivery import Kind
from worker.domain.identity import message_id
from worker.storage import ledger
from worker.storage.database import Database
from worker.storage.glance import looking
from worker.storage.models import CampaignRow, DeliveryRow, LeaseRow, SubscriptionRow
from worker.storage.outbox import Outgoing, put


class Backup:
    """A real copy of the database, and the way back to it."""

    def __init__(self, database: Database, server: PostgresServer | None) -> None:
        self._database = database
        self._server = server
        self._name = str(database.url.database)
        self._copy = f"{self._name}_copy"

    def take(self) -> None:
        self._database.close()
        if self._server is None:
            shutil.copy(self._name, self._copy)
        else:
            self._server.create(self._copy, self._name)

    def restore(self) -> None:
        self._database.close()
        if self._server is None:
            for path in (f"{self._name}-wal", f"{self._name}-shm"):
                Path(path).unlink(missing_ok=True)
            shutil.copy(self._copy, self._name)
        else:
            self._server.drop(self._name)
            self._server.create(self._name, self._copy)

    def drop(self) -> None:
        if self._server is not None:
            self._server.drop(self._copy)


@pytest.fixture
def backup(database: Database, request: pytest.FixtureRequest) -> Iterator[Backup]:
    one = Backup(database, None if database.is_sqlite else request.getfixturevalue("postgres_server"))
    yield one
    database.close()
    one.drop()


@pytest.fixture
def process(
    database: Database, clock: FakeClock, tmp_path: Path, redis_client: Redis
) -> Callable[..., Guard]:
    """`process(var)`: the guard of a process that starts now, on the host whose var folder that is."""

    def make(var: str = "var") -> Guard:
        witnesses = FileWitness(tmp_path / var / "ledger.json"), RedisWitness(lambda: redis_client)
        return Guard(database, clock, witnesses)

    return make


def sweep(process: Callable[..., Guard], clock: FakeClock, times: int = 1, var: str = "var") -> None:
    one = process(var)
    for _ in range(times):
        clock.advance(seconds=5)
        one.beat()


def claim(database: Database, clock: FakeClock, campaign_id: int) -> Claim | None:
    return Claimer(database, clock, "here:1.journal", timedelta(seconds=30)).campaign(campaign_id, {"": 10})


def put_mail(database: Database, clock: FakeClock, key: str) -> int:
    with database.write() as connection:
        made = put(connection, Outgoing("daily", Kind.WELCOME, "a@example.com", "", key, None), clock.now())
    assert made is not None
    return made


def mails_that_may_go(database: Database) -> list[int]:
    with database.read() as connection:
        return [row.id for row in queries.peek_transactional(connection, 0, 10)]


def is_held(database: Database) -> bool:
    with database.read() as connection:
        return ledger.look(connection).held_at is not None


def test_a_database_restored_from_yesterdays_dump_starts_held_and_says_what_it_would_send(
    database: Database, database_url: str, clock: FakeClock, backup: Backup, process: Callable[..., Guard]
) -> None:
    seeded = seed_campaign(database, clock.now(), 7)
    old = put_mail(database, clock, "welcome:1")
    sweep(process, clock)
    backup.take()
    clock.advance(days=1)
    sweep(process, clock)
    backup.restore()
    with capture_logs() as logs:
        assert not process().check()
    (line,) = [one for one in logs if one["event"] == "sending_held"]
    assert "1 day, 0:00:05 older than what" in line["why"]
    assert line["would_send"]["campaigns"] == [
        {"id": seeded.campaign_id, "publication": "daily", "post": "post-1", "n": 7}
    ]
    # nothing goes, of neither lane, and no chain turns in vain
    assert claim(database, clock, seeded.campaign_id) is None
    assert mails_that_may_go(database) == []
    with database.read() as connection:
        assert queries.queued_transactional(connection, [old]) == []
        assert queries.campaign_head(connection, seeded.campaign_id) is None
        assert turn_queries.next_campaign(connection, clock.now()) is None
    with looking(database_url) as ask:
        seen = glance_queries.status(ask, clock.now())["held"]
    assert seen["why"] == line["why"]
    assert (seen["campaigns"][0]["n"], seen["transactional"]) == (
        7, [{"publication": "daily", "kind": "welcome", "n": 1}]
    )  # fmt: skip
    # a reader who signs up now has not been written to yet
    clock.advance(seconds=1)
    new = put_mail(database, clock, "welcome:2")
    assert mails_that_may_go(database) == [new]
    # sweeps go on, and do not release it
    sweep(process, clock)
    assert is_held(database)
    with database.write() as connection:
        assert ledger.release(connection, clock.now())
        assert not ledger.release(connection, clock.now())
    assert process().check()
    assert claim(database, clock, seeded.campaign_id) is not None
    assert mails_that_may_go(database) == [old, new]
    sweep(process, clock)
    assert process().check()


def test_ids_of_the_lost_day_are_not_given_out_again(
    database: Database, clock: FakeClock, backup: Backup, process: Callable[..., Guard]
) -> None:
    """Or two mails would have one Message-ID, and a link in an old mail would be another reader's."""
    seed_campaign(database, clock.now(), 2)
    sweep(process, clock)
    backup.take()
    clock.advance(days=1)
    lost = seed_campaign(database, clock.now(), 3, post_id="lost")
    sweep(process, clock)
    backup.restore()
    process().check()
    with database.write() as connection:
        ledger.release(connection, clock.now())
    new = seed_campaign(database, clock.now(), 3, post_id="new")
    assert claim(database, clock, new.campaign_id) is not None
    with database.read() as connection:
        for table in (DeliveryRow, SubscriptionRow, CampaignRow, LeaseRow):
            assert connection.execute(select(func.max(table.id))).scalar_one() > ledger.JUMP
    ids = [message_id(b"k", one, "d") for one in (*lost.deliveries, *new.deliveries)]
    assert len(set(ids)) == 6


# -- who remembers


@pytest.mark.parametrize(
    ("redis_wiped", "var", "noticed"),
    [(True, "var", True), (False, "new", True), (True, "new", False)],
    ids=["Redis wiped", "new var folder", "both"],
)
def test_one_memory_is_enough(
    database: Database, clock: FakeClock, backup: Backup, process: Callable[..., Guard], redis_client: Redis,
    redis_wiped: bool, var: str, noticed: bool,
) -> None:  # fmt: skip
    seed_campaign(database, clock.now(), 1)
    sweep(process, clock)
    backup.take()
    clock.advance(hours=3)
    sweep(process, clock)
    backup.restore()
    if redis_wiped:
        redis_client.flushdb()
    assert process(var).check() is not noticed
    if not noticed:
        # where nobody remembers, an operator says it (`pressrun db restored`)
        with database.write() as connection:
            assert ledger.hold(connection, clock.now(), "said so")
            assert not ledger.hold(connection, clock.now(), "said so")
        assert not process(var).check()


def test_a_process_that_lived_through_it_notices_at_its_next_turn(
    database: Database, clock: FakeClock, backup: Backup, process: Callable[..., Guard], redis_client: Redis,
    tmp_path: Path,
) -> None:  # fmt: skip
    seed_campaign(database, clock.now(), 1)
    sweep(process, clock)
    backup.take()
    clock.advance(hours=3)
    sweep(process, clock)
    living = process()
    assert living.check()
    backup.restore()
    redis_client.flushdb()
    (tmp_path / "var" / "ledger.json").unlink()
    assert not living.check()


def test_a_memory_that_cannot_be_asked_is_asked_again(
    database: Database, clock: FakeClock, backup: Backup, process: Callable[..., Guard], redis_client: Redis
) -> None:
    seed_campaign(database, clock.now(), 1)
    sweep(process, clock)
    backup.take()
    clock.advance(hours=3)
    sweep(process, clock)
    backup.restore()
    away = Redis(host="127.0.0.1", port=1, retry=Retry(NoBackoff(), 0))
    clients = [away]
    one = Guard(database, clock, [RedisWitness(lambda: clients[0])])
    assert one.check()
    clients[0] = redis_client
    assert not one.check()
    with pytest.raises(Unreachable):
        RedisWitness(lambda: away).recall()
    RedisWitness(lambda: away).remember(Memory("x", 1))
    away.close()


# -- what is no restore


@pytest.mark.parametrize("redis_wiped", [True, False])
@pytest.mark.parametrize("var", ["var", "new"])
def test_a_wiped_redis_or_a_new_host_is_no_restore(
    database: Database, clock: FakeClock, process: Callable[..., Guard], redis_client: Redis, redis_wiped: bool,
    var: str,
) -> None:  # fmt: skip
    sweep(process, clock, 3)
    if redis_wiped:
        redis_client.flushdb()
    assert process(var).check()
    sweep(process, clock, 2, var)
    assert process("var").check()


def test_a_standby_that_lacks_the_last_moments_takes_over_with_new_ids(
    database: Database, clock: FakeClock, backup: Backup, process: Callable[..., Guard]
) -> None:
    """As a lost host (docs/promises.md): it goes on. What it may have given out is not given out again."""
    seed_campaign(database, clock.now(), 1)
    sweep(process, clock)
    backup.take()
    sweep(process, clock, SLIP_SECONDS // 5)
    backup.restore()
    with capture_logs() as logs:
        assert process().check()
    assert [one["event"] for one in logs] == ["ledger_lost_its_last_moments"]
    assert seed_campaign(database, clock.now(), 1, post_id="new").deliveries[0] > ledger.JUMP
    assert process().check()


def test_clocks_that_jump_are_no_restore(
    database: Database, clock: FakeClock, process: Callable[..., Guard]
) -> None:
    for hours in (1, -2, 1):
        clock.advance(hours=hours)
        sweep(process, clock, 2)
        assert process().check()
    with database.read() as connection:
        before = ledger.look(connection).mark
    sweep(process, clock)
    with database.read() as connection:
        assert ledger.look(connection).mark > before


def test_a_new_ledger_in_the_place_of_the_old_one_is_no_restore(
    database: Database, clock: FakeClock, process: Callable[..., Guard], tmp_path: Path, redis_client: Redis
) -> None:
    stranger = Memory("another", int(clock.now().timestamp()) + 5)
    FileWitness(tmp_path / "var" / "ledger.json").remember(stranger)
    RedisWitness(lambda: redis_client).remember(stranger)
    assert process().check()
    clock.advance(minutes=1)
    sweep(process, clock)
    assert process().check()
    # a host that was off meanwhile still remembers the old one: it has been answered for
    FileWitness(tmp_path / "other" / "ledger.json").remember(stranger)
    assert process("other").check()


def test_a_copy_of_another_ledger_is_held(
    database: Database, clock: FakeClock, process: Callable[..., Guard], tmp_path: Path
) -> None:
    """A staging system whose database was replaced by production's would write to real readers."""
    sweep(process, clock)
    FileWitness(tmp_path / "staging" / "ledger.json").remember(Memory("staging", int(clock.now().timestamp()) + 60))
    with capture_logs() as logs:
        assert not process("staging").check()
    assert "another database than the one that" in logs[0]["why"]
    clock.advance(minutes=2)
    with database.write() as connection:
        ledger.release(connection, clock.now())
    assert process("staging").check()


def test_a_memory_that_makes_no_sense_is_none(tmp_path: Path) -> None:
    path = tmp_path / "ledger.json"
    for said in ("", "{", "[1]", '{"identity": "x"}', '{"identity": "x", "mark": "y"}'):
        path.write_text(said)
        assert FileWitness(path).recall() is None
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(Unreachable):
        FileWitness(folder).recall()
    FileWitness(folder).remember(Memory("x", 1))
