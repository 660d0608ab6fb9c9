"""Promise 2: one delivery per campaign and subscriber, however often anything is replayed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from tests.running import Running, post_event, signup_event
from tests.smtpd import SmtpServer
from worker.storage.database import Database
from worker.storage.models import DeliveryRow


def test_everything_replayed(system: Callable[..., Running]) -> None:
    with SmtpServer() as server:
        running = system(server.url)
        running.import_readers(40)
        first = running.emit(signup_event("new@example.com"), post_event())
        running.wait_sent(41)
        again = running.emit(signup_event("new@example.com"), post_event(), post_event(event_id="another-id"))
        running.import_readers(40)
        again += running.emit(signup_event("new@example.com"), post_event())
        running.emit(post_event("post-2"))
        running.wait_sent(41 + 40)
        received = Counter(one.rcpt for one in server.messages)
    assert first.count("accepted") == 2
    assert again.count("duplicate") == 4
    assert received.pop("new@example.com") == 1
    assert set(received.values()) == {2}
    assert running.counts() == {"sent": 81}


def test_the_database_refuses_a_second_delivery(system: Callable[..., Running]) -> None:
    """Whatever code of ours would do: a second row for the same campaign and reader cannot be written."""
    with SmtpServer() as server:
        running = system(server.url)
        running.import_readers(1)
        running.emit(post_event())
        running.wait_sent(1)
    written = DeliveryRow.__table__
    with running.database.read() as connection:
        row = dict(connection.execute(select(written)).mappings().one())
    del row["id"]
    with pytest.raises(IntegrityError, match="dedupe_key"):
        _write(running.database, row)
    _write(running.database, row | {"dedupe_key": "another"})


def _write(database: Database, row: dict[str, object]) -> None:
    with database.write() as connection:
        connection.execute(insert(DeliveryRow).values(row))
