"""What partitioning would give on PostgreSQL: one table for all deliveries against a partition for each campaign.

Ten campaigns of a million each; then the rates of planning, claiming and recording with all of them in the table, and
what it takes to be rid of one. The product's own statements run on both; where a partition could be told from the
campaign, they are measured with that said, too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import event, text

from benchmarks.accounting import Account, family
from benchmarks.audience import seed
from benchmarks.bed import ledger, postmaster
from benchmarks.report import Options, Result, Unavailable
from tests.running import Running
from worker.delivery import set_queries
from worker.delivery.set_queries import OutcomeRow
from worker.domain.clock import SystemClock
from worker.domain.delivery import DeliveryStatus
from worker.storage.database import Database

_CAMPAIGNS, _READERS = 10, 1_000_000
_SLICE, _SET = 5000, 250
# The unique key must hold the partition's: so the dedupe key is unique in its campaign, and by the database no more.
_PARTITIONED = """
ALTER TABLE attempts DROP CONSTRAINT fk_attempts_delivery_id_deliveries;
ALTER TABLE deliveries RENAME TO plain;
CREATE TABLE deliveries (LIKE plain INCLUDING DEFAULTS INCLUDING CONSTRAINTS) PARTITION BY LIST (campaign_id);
CREATE UNIQUE INDEX ON deliveries (campaign_id, id);
CREATE UNIQUE INDEX ON deliveries (campaign_id, dedupe_key);
CREATE INDEX ON deliveries (id);
CREATE INDEX ON deliveries (destination, id) WHERE status = 'queued';
CREATE INDEX ON deliveries (status, id) WHERE status NOT IN ('queued', 'sending', 'sent', 'delivered');
CREATE INDEX ON deliveries (lease_id) WHERE lease_id IS NOT NULL;
CREATE INDEX ON deliveries (next_attempt_at) WHERE status = 'deferred'
"""
_PLAN = """
INSERT INTO deliveries (id, publication, kind, campaign_id, slice_id, subscriber_id, subscription_id, address,
    destination, dedupe_key, status, reason, claims, attempts, enhanced, reply, created_at)
SELECT nextval('deliveries_id_seq'), u.publication, 'new_post', :campaign, :slice, s.id, u.id, s.email, '',
    'c:' || :campaign || ':' || s.id, 'queued', '', 0, 0, '', '', now()
FROM subscriptions u JOIN subscribers s ON s.id = u.subscriber_id WHERE u.id > :after AND u.id <= :until ORDER BY u.id
ON CONFLICT ({unique}) DO NOTHING
"""
_CAMPAIGN_ROWS = f"""
INSERT INTO campaigns (publication, post_id, list_slug, labels, status, reason, created_at, released_at, plan_cursor,
    plan_until, post)
SELECT 'daily', i, 'posts', '[]', 'sending', '', now(), now(), 0, 0, '{{}}' FROM generate_series(1, {_CAMPAIGNS}) AS i
"""
Row = tuple[object, ...]


def run(options: Options) -> Result:
    if "postgresql" not in options.databases:
        raise Unavailable("partitions are PostgreSQL's")
    readers = options.size(_READERS)
    plain = _measured(readers, partitioned=False)
    parted = _measured(readers, partitioned=True)
    rows: list[Row] = [(step, plain.get(step, "–"), parted.get(step, "–")) for step in dict.fromkeys((*plain, *parted))]
    notes = [f"{_CAMPAIGNS} campaigns of {readers:,}; sets of {_SET}; one client. µs: of time (of the server's CPU)."]
    return Result(("", "one table", "a partition for each campaign"), rows, [plain, parted], notes)


def _measured(readers: int, *, partitioned: bool) -> dict[str, str]:
    with _filled(readers, partitioned=partitioned) as (database, plan):
        meter = _Meter(database)
        found = {"planning one more, a row": meter.of(readers, plan)}
        sends, last = max(_SET, readers // 20), _CAMPAIGNS
        found["claim and record, a mail"] = meter.of(sends, lambda: _send(database, last, sends))
        if partitioned:
            with _told(database, last):
                step = "the same, with the campaign in each statement"
                found[step] = meter.of(sends, lambda: _send(database, last, sends))
            return found | _dropped_at_once(database, meter)
        return found | _deleted(database, meter)


@contextmanager
def _filled(readers: int, *, partitioned: bool) -> Iterator[tuple[Database, Callable[[], None]]]:
    """All campaigns but the last, and what plans that."""
    with TemporaryDirectory(prefix="pr-bench-") as folder, ledger("postgresql", Path(folder)) as url:
        running = Running(Path(folder), {"PRESSRUN_DATABASE_URL": url})
        running.run("db", "upgrade")
        seed(running.database, readers, ("north.example",))
        with running.database.write() as connection:
            for statement in _PARTITIONED.split(";") if partitioned else ():
                connection.execute(text(statement))
            connection.execute(text(_CAMPAIGN_ROWS))
        for campaign in range(1, _CAMPAIGNS):
            _plan(running.database, campaign, readers, partitioned=partitioned)
        _settle(running.database)
        yield running.database, lambda: _plan(running.database, _CAMPAIGNS, readers, partitioned=partitioned)
        running.close()


def _plan(database: Database, campaign: int, readers: int, *, partitioned: bool) -> None:
    """In slices, as the planner does."""
    insert = text(_PLAN.format(unique="campaign_id, dedupe_key" if partitioned else "dedupe_key"))
    if partitioned:
        with database.write() as connection:
            part = f"CREATE TABLE part_{campaign} PARTITION OF deliveries FOR VALUES IN ({campaign})"
            connection.execute(text(part))
    for after in range(0, readers, _SLICE):
        with database.write() as connection:
            until = min(after + _SLICE, readers)
            at = {"campaign": campaign, "slice": after, "after": after, "until": until}
            connection.execute(insert, at)


def _send(database: Database, campaign: int, mails: int) -> None:
    """Claimed and recorded, as for mails that are taken at the first try."""
    clock = SystemClock()
    for lease in range(1, mails // _SET + 1):
        with database.write() as connection:
            ids = [row.id for row in set_queries.queued_of_campaign(connection, campaign, "", _SET)]
            set_queries.take(connection, lease, ids)
        now = clock.now()
        outcomes = [
            OutcomeRow(one, lease, DeliveryStatus.SENT, "", 1, now, now, None, 250, "2.0.0", "Ok: queued as 4XyZ12ABCd")
            for one in ids
        ]
        with database.write() as connection:
            assert len(set_queries.write_outcomes(connection, outcomes)) == _SET


@contextmanager
def _told(database: Database, campaign: int) -> Iterator[None]:
    """The statements by id say whose campaign it is, so that one partition is looked at instead of all."""

    def tell(_c: object, _k: object, statement: str, values: Any, _x: object, _m: object) -> tuple[str, Any]:
        said = statement.replace("WHERE id = ANY", f"WHERE campaign_id = {campaign} AND id = ANY")
        said = said.replace(" RETURNING deliveries", f" AND deliveries.campaign_id = {campaign} RETURNING deliveries")
        return said, values

    event.listen(database.engine, "before_cursor_execute", tell, retval=True)
    yield
    event.remove(database.engine, "before_cursor_execute", tell)


def _deleted(database: Database, meter: _Meter) -> dict[str, str]:
    before, began = meter.log(), time.monotonic()
    with database.write() as connection:
        connection.execute(text("DELETE FROM deliveries WHERE campaign_id = 1"))
    deleted = time.monotonic()
    _settle(database)
    found = {"to be rid of one: delete, then vacuum": f"{deleted - began:.1f} s + {time.monotonic() - deleted:.1f} s"}
    return found | {"its log": f"{(meter.log() - before) / 1e6:,.0f} MB", "given back to the disk": "nothing"}


def _dropped_at_once(database: Database, meter: _Meter) -> dict[str, str]:
    with database.read() as connection:
        size = connection.execute(text("SELECT pg_total_relation_size('part_1')")).scalar_one()
    before, began = meter.log(), time.monotonic()
    with database.write() as connection:
        connection.execute(text("DROP TABLE part_1"))
    found = {"to be rid of one: drop": f"{time.monotonic() - began:.2f} s"}
    return found | {
        "its log": f"{(meter.log() - before) / 1e6:,.2f} MB", "given back to the disk": f"{size / 1e6:,.0f} MB"
    }  # fmt: skip


def _settle(database: Database) -> None:
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
        connection.execute(text("CHECKPOINT"))


class _Meter:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._server = postmaster(database)

    def of(self, n: int, work: Callable[[], None]) -> str:
        """Microseconds for each of `n`."""
        server = self._server
        account, began = Account({"server": lambda: family(server) if server else []}), time.monotonic()
        work()
        return f"{(time.monotonic() - began) / n * 1e6:.1f} µs ({account.cpu_us(n)['server']:.1f})"

    def log(self) -> float:
        """Bytes of write-ahead log so far."""
        with self._database.read() as connection:
            return float(connection.execute(text("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn")).scalar_one())

