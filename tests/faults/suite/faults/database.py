"""The ledger: restarted, its connections cut, locked for longer than a lease."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing

from tests.faults.suite.bed import LEASE_SECONDS, Bed
from tests.faults.suite.faults.table import fault

_POSTGRESQL = ("postgresql",)
_OURS = "datname = 'faults' AND pid <> pg_backend_pid()"


@fault("postgresql-restarted", databases=_POSTGRESQL)
def restarted(bed: Bed, _rng: random.Random) -> str:
    assert bed.postgres is not None
    bed.postgres.restart("fast")
    return "PostgreSQL restarted"


@fault("postgresql-crashed", databases=_POSTGRESQL)
def crashed(bed: Bed, _rng: random.Random) -> str:
    assert bed.postgres is not None
    bed.postgres.restart("immediate")
    return "PostgreSQL crashed and came back"


@fault("postgresql-cut", databases=_POSTGRESQL)
def cut(bed: Bed, rng: random.Random) -> str:
    assert bed.postgres is not None
    times = rng.randint(1, 5)
    with bed.postgres.connect() as connection:
        for _ in range(times):
            connection.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {_OURS}".encode())
            bed.pause(0.4)
    return f"all connections to PostgreSQL cut, {times} times"


@fault("postgresql-locked", databases=_POSTGRESQL)
def locked(bed: Bed, rng: random.Random) -> str:
    """As a careless ALTER TABLE does: nobody reads or writes a delivery."""
    assert bed.postgres is not None
    seconds = LEASE_SECONDS * rng.uniform(1.2, 2.0)
    table = rng.choice(("deliveries", "leases", "tallies", "campaigns", "subscriptions", "bulk_slots"))
    with bed.postgres.connect("faults") as connection, connection.transaction():
        connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
        bed.pause(seconds)
    return f"the table {table} locked for {seconds:.1f} s"


@fault("sqlite-locked", databases=("sqlite",))
def sqlite_locked(bed: Bed, rng: random.Random) -> str:
    """By a tool that knows nothing of our file lock: a backup, somebody's shell."""
    seconds = LEASE_SECONDS * rng.uniform(1.2, 2.0)
    path = bed.house.database.url.database
    assert path is not None
    with closing(sqlite3.connect(path, timeout=20, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        bed.pause(seconds)
        connection.execute("ROLLBACK")
    return f"SQLite locked for {seconds:.1f} s"
