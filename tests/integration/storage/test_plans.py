"""What is asked for every mail, every turn, every sweep and every look must not read what it does not need: each
question has its index, on both databases, right after a million rows were planned and after ANALYZE."""

from __future__ import annotations

import itertools
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from tests.plans import plans
from tests.servers import PostgresServer
from worker.audience import queries_erasing
from worker.campaigns import drop_queries, glance_queries, queries, retry_queries, turn_queries, view_queries
from worker.delivery import due_queries, set_queries
from worker.delivery import queries as delivery
from worker.delivery import view_queries as lists
from worker.delivery.set_queries import OutcomeRow
from worker.domain.delivery import OPEN, DeliveryStatus, Reason
from worker.storage.database import Database

NOW = datetime(2025, 2, 9, tzinfo=UTC)
_CAMPAIGNS, _ROWS, _SLICE = 20, 2000, 500
# the one that is being sent
_C = 11

_AT = "2025-01-01 00:00:00.000000"
_SERIES = {
    "sqlite": f"WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < {_CAMPAIGNS * _ROWS})",
    "postgresql": f"WITH s(i) AS (SELECT generate_series(1, {_CAMPAIGNS * _ROWS}))",
}
_READERS = f"""
INSERT INTO subscribers (publication, address, email, domain, name, locale, created_at)
SELECT 'daily', 'r' || i || '@x.test', 'r' || i || '@x.test', 'x.test', '', '', AT FROM s WHERE i <= {_ROWS}"""
_SUBSCRIPTIONS = """
INSERT INTO subscriptions (publication, list_slug, subscriber_id, status, generation, created_at)
SELECT 'daily', 'posts', id, 'active', 0, AT FROM subscribers"""
_ALL = f"""
INSERT INTO campaigns (publication, post_id, list_slug, labels, status, reason, created_at, released_at, plan_cursor,
    plan_until, planned_at, finished_at, post)
SELECT 'daily', 'post-' || i, 'posts', '[]', CASE i WHEN {_C} THEN 'sending' ELSE 'finished' END, '', AT, AT, {_ROWS},
    {_ROWS}, AT, CASE i WHEN {_C} THEN NULL ELSE AT END, '{{}}' FROM s WHERE i <= {_CAMPAIGNS}"""
_SLICES = f"""
INSERT INTO slices (publication, kind, campaign_id, first_id, last_id, planned_at)
SELECT 'daily', 'new_post', (i - 1) / 4 + 1, (i - 1) * {_SLICE} + 1, i * {_SLICE}, AT FROM s
WHERE i <= {_CAMPAIGNS * 4}"""
# Of the one: the first half sent, then a few under a lease, the rest queued; of the others, one in a hundred bounced.
_STATUS = f"""CASE WHEN c <> {_C} THEN CASE r % 100 WHEN 0 THEN 'bounced' ELSE 'sent' END
    WHEN r <= 1000 THEN 'sent' WHEN r <= 1010 THEN 'sending' WHEN r <= 1020 THEN 'deferred' ELSE 'queued' END"""
_DELIVERIES = f"""
INSERT INTO deliveries (publication, kind, campaign_id, slice_id, subscriber_id, subscription_id, address, destination,
    dedupe_key, status, reason, lease_id, claims, attempts, enhanced, reply, created_at, next_attempt_at)
SELECT 'daily', 'new_post', c, (i - 1) / {_SLICE} + 1, r, r, 'r' || r || '@x.test',
    CASE i % 2 WHEN 1 THEN 'google' ELSE '' END, 'c:' || c || ':' || r, status, '',
    CASE status WHEN 'sending' THEN 5 END, 0, 0, '', '', AT, CASE status WHEN 'deferred' THEN AT END
FROM (SELECT i, c, r, {_STATUS} AS status
    FROM (SELECT i, (i - 1) / {_ROWS} + 1 AS c, (i - 1) % {_ROWS} + 1 AS r FROM s) AS numbered) AS made"""
_TALLIES = """
INSERT INTO tallies (slice_id, status, reason, n)
SELECT slice_id, status, reason, count(*) FROM deliveries GROUP BY slice_id, status, reason"""
_SHARD = "INSERT INTO slices (publication, kind, shard) VALUES ('daily', 'confirmation', 0)"
_TRANSACTIONAL = f"""
INSERT INTO deliveries (publication, kind, slice_id, address, destination, dedupe_key, status, reason, claims, attempts,
    enhanced, reply, created_at, expires_at)
SELECT 'daily', 'confirmation', {_CAMPAIGNS * 4 + 1}, 't' || i || '@x.test', '', 'signup:' || i,
    CASE WHEN i > 990 THEN 'queued' ELSE 'sent' END, '', 0, 0, '', '', AT, AT FROM s WHERE i <= 1000"""
_FILL = (_READERS, _SUBSCRIPTIONS, _ALL, _SLICES, _DELIVERIES, _SHARD, _TRANSACTIONAL, _TALLIES)
_numbers = itertools.count(1)


def fill(database: Database, *, analyzed: bool) -> None:
    with database.write() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        if not database.is_sqlite:
            # it knows nothing of them but what the test lets it know
            driver.execute("ALTER TABLE deliveries SET (autovacuum_enabled = off)")
        for statement in _FILL:
            driver.execute(_said(statement, sqlite=database.is_sqlite))
    if analyzed:
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("ANALYZE"))


def _said(statement: str, *, sqlite: bool) -> str:
    """In the words of one of them; `s` is the series that some select from."""
    head, select, rest = statement.partition("\nSELECT ")
    series = f"\n{_SERIES['sqlite' if sqlite else 'postgresql']}" if " FROM s" in rest else ""
    said = re.sub(r"\bAT\b", f"'{_AT}'" if sqlite else f"'{_AT}+00'::timestamptz", head + series + select + rest)
    return said if sqlite else said.replace("'[]'", "'[]'::json").replace("'{}'", "'{}'::json")


@pytest.fixture(
    scope="module",
    params=[(kind, analyzed) for kind in ("sqlite", "postgresql") for analyzed in (False, True)],
    ids=lambda one: f"{one[0]}-{'analyzed' if one[1] else 'new'}",
)
def ledger(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """Forty thousand deliveries of twenty campaigns, and a thousand transactional ones."""
    kind, analyzed = request.param
    if kind == "sqlite":
        path: Path = tmp_path_factory.mktemp("plans") / "pressrun.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        url = f"sqlite:///{path}"
    else:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        name = f"{request.getfixturevalue('postgres_template')}_plans_{next(_numbers)}"
        url = server.create(name, request.getfixturevalue("postgres_template"))
    database = Database(url)
    fill(database, analyzed=analyzed)
    yield database
    database.close()
    if kind == "postgresql":
        server.drop(name)


@dataclass(frozen=True)
class Question:
    """`indexes`: what each of its statements that reads deliveries must go by, one of them."""

    name: str
    ask: Callable[[Connection], object]
    indexes: tuple[str, ...]


_PK = ("pk_deliveries", "INTEGER PRIMARY KEY")
# what is queued of no campaign; to sort it, since it is little, is as good as to find it in order
_FIRST = ("ix_deliveries_transactional", "ix_deliveries_queued")
# the same for what did not simply go its way
_OF_NOBODY = ("ix_deliveries_transactional", "ix_deliveries_aside")
_OUTCOMES = [
    OutcomeRow(_ROWS * (_C - 1) + 1000 + n, 5, "sent", "", 1, NOW, NOW, None, 250, "2.0.0", "ok") for n in range(335)
]


def _outcomes(connection: Connection) -> list[OutcomeRow]:
    """Of so few deliveries as there are here PostgreSQL reads all rather than look up hundreds, and is right."""
    return _OUTCOMES if connection.dialect.name == "sqlite" else _OUTCOMES[:10]


def _glance(connection: Connection) -> object:
    def ask(sql: str, values: object) -> list[tuple[object, ...]]:
        style = sql if connection.dialect.name == "sqlite" else sql.replace("?", "%s")
        return [tuple(row) for row in connection.exec_driver_sql(style, tuple(values))]  # type: ignore[arg-type]

    return glance_queries.status(ask, NOW)


def _drop(connection: Connection) -> object:
    span = drop_queries.next_span(connection, 3)
    assert span is not None
    return drop_queries.drop_rows(connection, span, 100)


QUEUED, SENT, BOUNCED = DeliveryStatus.QUEUED, DeliveryStatus.SENT, DeliveryStatus.BOUNCED
QUESTIONS = [
    # each mail
    Question("claim", lambda c: set_queries.queued_of_campaign(c, _C, "google", 250), ("ix_deliveries_queued",)),
    Question("take", lambda c: set_queries.take(c, 5, list(range(20_000, 20_250))), _PK),
    Question("record", lambda c: set_queries.write_outcomes(c, _outcomes(c)), _PK),
    Question("held", lambda c: delivery.held(c, [(21_000 + n, 5) for n in range(100)]), _PK),
    # each turn
    Question("probe", lambda c: delivery.queued_destinations(c, _C, ["", "google"]), ("ix_deliveries_queued",)),
    Question("choose", lambda c: turn_queries.next_campaign(c, NOW), ("ix_deliveries_queued",)),
    Question("peek", lambda c: delivery.peek_transactional(c, 0, 100), _FIRST),
    Question("transactional", lambda c: delivery.queued_transactional(c, [40_001, 40_995]), (*_PK, *_FIRST)),
    # each sweep
    Question("taking over", lambda c: delivery.under_lease(c, 5, 250), ("ix_deliveries_lease",)),
    Question("due", lambda c: due_queries.due_retries(c, NOW, timedelta(hours=4), 250), ("ix_deliveries_due",)),
    Question("expired", lambda c: due_queries.expired_in_queue(c, NOW, 250), ("ix_deliveries_expiring",)),
    Question("finished", view_queries.at_rest, ("ix_deliveries_queued",)),
    # each look
    Question("status", _glance, _FIRST),
    Question("oldest", lambda c: (view_queries.oldest_bulk(c, NOW), view_queries.oldest_transactional(c)), _FIRST),
    Question("list", lambda c: lists.of_campaign(c, 7, None, 0, 100), _PK),
    Question("list of the sent", lambda c: lists.of_campaign(c, 7, SENT, 12_500, 100), _PK),
    Question("list of the queued", lambda c: lists.of_campaign(c, _C, QUEUED, 0, 1000), _PK),
    Question("list of all bounced", lambda c: lists.with_status(c, BOUNCED, "daily", 0, 100, transactional_only=False),
             (*_OF_NOBODY, *_PK)),
    Question("list of all queued", lambda c: lists.with_status(c, QUEUED, "daily", 0, 100, transactional_only=False),
             (*_FIRST, *_PK)),
    Question("list of transactional mail", lambda c: lists.with_status(c, None, None, 0, 100, transactional_only=True),
             (*_OF_NOBODY, *_PK, "ix_deliveries_lease", "ix_deliveries_queued")),
    Question("list of the bounced", lambda c: lists.of_campaign(c, 7, BOUNCED, 0, 100), ("ix_deliveries_aside",)),
    # an operator's hand
    Question("cancel", lambda c: queries.take_rows(c, _C, QUEUED, None, 0, 1000), _PK),
    Question("retry", lambda c: queries.take_rows(c, 7, BOUNCED, Reason.NONE, 0, 1000), ("ix_deliveries_aside",)),
    Question("retry of transactional mail",
             lambda c: retry_queries.take_transactional(c, DeliveryStatus.FAILED, None, 0, 100),
             _OF_NOBODY),
    Question("any open", lambda c: queries.has_rows(c, _C, OPEN), ()),
    # what is kept
    Question("drop", _drop, _PK),
    Question("retention", lambda c: due_queries.delete_transactional(c, NOW, 250), (*_OF_NOBODY, *_PK)),
    Question("oldest campaign", lambda c: drop_queries.oldest(c, NOW), ()),
    Question("erasure", lambda c: queries_erasing.deliveries_to(c, [1500], ["t5@x.test"]),
             ("uq_deliveries_dedupe_key", "sqlite_autoindex_deliveries_1", "ix_deliveries_subscriber",
              "ix_deliveries_address", *_PK)),
]  # fmt: skip


_NAMES = {
    # a partial index that is read from its beginning is none that is read through
    "sqlite": r"(?:SEARCH|SCAN) (?:d|deliveries) USING (?:COVERING )?(?:INDEX )?(\w+(?: PRIMARY KEY)?)",
    "postgresql": r"(?:Index Scan|Index Only Scan) (?:using|on) (\w+_deliveries\w*)",
}
_READ_THROUGH = r"SCAN (?:d|deliveries)(?! USING)|Seq Scan on deliveries"


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda one: one.name)
def test_each_question_has_its_index(ledger: Database, question: Question) -> None:
    found = plans(ledger, question.ask)
    print(*found, sep="\n")
    used = {name for step in found for name in re.findall(_NAMES["sqlite" if ledger.is_sqlite else "postgresql"], step)}
    assert not [step for step in found if re.search(_READ_THROUGH, step)]
    assert used <= set(question.indexes)
    assert bool(used) == bool(question.indexes)
