"""What one mail costs the ledger: planned, claimed, recorded and dropped by one client that sends nothing.

CPU of the client and of the database server, the log it writes, and the room that a delivery takes with its indexes:
the constants of the capacity model in `docs/scaling.md`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import Connection, insert, text

from benchmarks import posts
from benchmarks.accounting import Account, family
from benchmarks.audience import seed
from benchmarks.bed import DOMAINS, ledger, postmaster
from benchmarks.report import Options, Result
from tests.running import Running
from worker.bootstrap import System, build
from worker.campaigns.plan_queries import last_subscription
from worker.campaigns.progress import finish
from worker.delivery import queries
from worker.delivery.claim import Claim, Claimer
from worker.delivery.parcels import Result as Outcome
from worker.delivery.record import record
from worker.delivery.recorder import SET_SIZE
from worker.delivery.transports.base import Exchange
from worker.domain.campaign import CampaignStatus
from worker.domain.doorbell import RecordingDoorbell
from worker.domain.replies import Reply, Stage
from worker.storage.models import CampaignRow

_READERS = 50_000
_CLAIM = {"sqlite": 250, "postgresql": 500}
_TAKEN = Exchange(Stage.BODY, Reply(250, "2.0.0", "Ok: queued as 4XyZ12ABCdef"), "", 0.004)
Figures = dict[str, float]


def run(options: Options) -> Result:
    readers = options.size(_READERS)
    found = {database: _measure(database, readers) for database in options.databases}
    steps = dict.fromkeys(step for one in found.values() for step in one)
    rows = [(step, *(f"{one.get(step, 0):,.1f}" for one in found.values())) for step in steps]
    notes = [
        f"{readers:,} readers, one client, nothing sent. PostgreSQL's bytes are those before a vacuum. Whoever drops "
        "rests as long as it has worked, which is in its time."
    ]
    return Result(("for each mail", *found), rows, found, notes)


def _measure(database: str, readers: int) -> Figures:
    with prepared(database, readers) as system:
        meter = Meter(system, readers)
        campaign = new_campaign(system)
        found = meter.of("plan", lambda: plan_all(system, campaign))
        claims: list[Claim] = []
        found |= meter.of("claim", lambda: claims.extend(claims_of(system, campaign, _CLAIM[database])))
        found |= meter.of("record", lambda: record_all(system, claims))
        found["bytes in tables and indexes"] = (meter.size() - meter.size_before) / readers
        with system.database.write() as connection:
            finish(connection, system.clock.now(), campaign)
        return found | meter.of("drop", lambda: system.dropper.drop(campaign))


@contextmanager
def prepared(database: str, readers: int) -> Iterator[System]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="pr-bench-")))
        url = stack.enter_context(ledger(database, folder))
        running = Running(folder, {"PRESSRUN_DATABASE_URL": url})
        stack.callback(running.close)
        running.run("db", "upgrade")
        seed(running.database, readers, DOMAINS[:1])
        system = build(running.settings, running.environ, RecordingDoorbell())
        stack.callback(system.database.close)
        yield system


class Meter:
    """CPU of client and server (µs a mail), log written and seconds, for each step."""

    def __init__(self, system: System, readers: int) -> None:
        self._database = system.database
        self._readers = readers
        self._server = postmaster(system.database)
        self.size_before = self.size()

    def of(self, step: str, work: Callable[[], object]) -> Figures:
        server = self._server
        account = Account({"server": lambda: [] if server is None else family(server)})
        log, began, wall = self._log(), time.process_time(), time.monotonic()
        work()
        client, took = time.process_time() - began, time.monotonic() - wall
        found = {
            f"{step}: µs of time": took / self._readers * 1e6, f"{step}: client CPU µs": client / self._readers * 1e6,
        }  # fmt: skip
        if server is None:
            return found
        written = (self._log() - log) / self._readers
        cpu = account.cpu_us(self._readers)["server"]
        return found | {f"{step}: server CPU µs": cpu, f"{step}: bytes of WAL": written}

    def size(self) -> float:
        """Bytes."""
        if self._database.is_sqlite:
            return self._one("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
        return self._one("SELECT pg_database_size(current_database())")

    def _log(self) -> float:
        return 0.0 if self._database.is_sqlite else self._one("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn")

    def _one(self, question: str) -> float:
        with self._database.read() as connection:
            return float(connection.execute(text(question)).scalar_one())


def new_campaign(system: System) -> int:
    now = datetime.now(UTC)
    values = {
        "publication": "daily", "post_id": "bench", "list_slug": "posts", "labels": [], "created_at": now,
        "released_at": now, "post": posts.event()["data"]["post"], "status": CampaignStatus.PLANNING,
    }  # fmt: skip
    with system.database.write() as connection:
        until = last_subscription(connection)
        made = insert(CampaignRow).values(values | {"plan_until": until}).returning(CampaignRow.id)
        return int(connection.execute(made).scalar_one())


def plan_all(system: System, campaign: int) -> None:
    while _status(system, campaign) == CampaignStatus.PLANNING:
        system.planner.run(campaign)


def _status(system: System, campaign: int) -> str:
    with system.database.read() as connection:
        row = queries.campaign_head(connection, campaign)
    assert row is not None
    return str(row.status)


def claims_of(system: System, campaign: int, size: int) -> Iterator[Claim]:
    claimer = Claimer(system.database, system.clock, "bench:0.journal", system.settings.lease)
    while (claim := claimer.campaign(campaign, {"": size})) is not None:
        yield claim


def record_all(system: System, claims: list[Claim], size: int = SET_SIZE) -> None:
    for claim in claims:
        outcomes = [Outcome(one, system.clock.now(), _TAKEN) for one in claim.claimed]
        for at in range(0, len(outcomes), size):
            with system.database.write(journalled=True) as connection:
                _write(connection, system, outcomes[at : at + size])
                if at + size >= len(outcomes):
                    queries.close_leases(connection, [claim.lease.id])


def _write(connection: Connection, system: System, outcomes: list[Outcome]) -> None:
    written = record(connection, system.record_policy, outcomes)
    assert len(written) == len(outcomes)
