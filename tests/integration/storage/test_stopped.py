"""A process that is stopped in the middle of a transaction does not keep its locks for as long as that lasts."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from sqlalchemy import text

from tests.ledger import seed_campaign
from worker.domain.clock import SystemClock
from worker.domain.delivery import DeliveryStatus, Reason
from worker.storage.database import Database
from worker.storage.moves import Move, record_moves


@pytest.mark.parametrize("backend", ["postgresql"])
def test_postgresql_ends_a_transaction_whose_client_is_silent(database: Database) -> None:
    with database.read() as connection:
        found = connection.execute(text("SHOW idle_in_transaction_session_timeout")).scalar_one()
    assert found == "10s"


@pytest.mark.parametrize("backend", ["postgresql"])
def test_no_pipeline_that_would_take_its_time_limit_away(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counters are written in sets; psycopg's own `executemany` would be a pipeline, with a flush at its end."""
    seeded = seed_campaign(database, SystemClock().now(), 1)

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a pipeline")

    monkeypatch.setattr(psycopg.Cursor, "executemany", refuse)
    none, sending = Reason.NONE, DeliveryStatus.SENDING
    ends = (DeliveryStatus.SENT, DeliveryStatus.BOUNCED, DeliveryStatus.FAILED)
    with database.write() as connection:
        record_moves(connection, [Move(seeded.slice_id, sending, none, end, none, 1) for end in ends])
    with database.read() as connection:
        statement = "SELECT count(*) FROM tallies WHERE n = 1 AND status <> 'queued'"
        counted = connection.execute(text(statement)).scalar_one()
    assert counted == 3
