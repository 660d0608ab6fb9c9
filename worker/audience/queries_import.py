"""The SQL of the import: one statement for each table and batch, its rows as one JSON parameter.

What SQLite and PostgreSQL say differently is only how a JSON array becomes rows. A CROSS JOIN keeps SQLite from
turning the join around: it takes the table for the smaller side, and reads all of it for each batch.
"""

# What is put into the statements is ours, word by word; every value is a parameter.
# ruff: noqa: S608

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import Connection, TextClause, bindparam, text

from worker.domain.audience import ConsentAction, SubscriptionStatus
from worker.storage.types import UtcDateTime

_ACTIVE = SubscriptionStatus.ACTIVE.value
_PENDING = SubscriptionStatus.PENDING.value


def upsert_subscribers(
    connection: Connection, publication: str, rows: Sequence[tuple[str, str, str, str, str]], now: datetime
) -> dict[str, int]:
    """`rows`: (address, email, domain, name, locale), no address twice. What the file leaves empty is kept.

    The id by address, of those only that were new or changed.

    Sorted by address: two imports at once lock the readers that both have in the same order.
    """
    address, email, domain, name, locale = _fields(connection, 5)
    statement = f"""
        INSERT INTO subscribers (publication, address, email, domain, name, locale, created_at)
        SELECT :publication, {address}, {email}, {domain}, {name}, {locale}, :now FROM {_rows(connection)} WHERE true
        ON CONFLICT (publication, address) DO UPDATE SET
          name = CASE WHEN excluded.name = '' THEN subscribers.name ELSE excluded.name END,
          locale = CASE WHEN excluded.locale = '' THEN subscribers.locale ELSE excluded.locale END
        WHERE excluded.name NOT IN ('', subscribers.name) OR excluded.locale NOT IN ('', subscribers.locale)
        RETURNING address, id
    """
    values = {"publication": publication, "rows": _json(sorted(rows)), "now": now}
    return {row.address: row.id for row in connection.execute(_statement(statement), values).all()}


def subscriber_ids(connection: Connection, publication: str, addresses: Sequence[str]) -> dict[str, int]:
    """The id by address."""
    (address,) = _fields(connection, 1)
    found = connection.execute(
        _statement(f"""
            SELECT s.address, s.id FROM {_rows(connection)}
            CROSS JOIN subscribers s WHERE s.publication = :publication AND s.address = {address}
        """, now=False),
        {"publication": publication, "rows": _json([(one,) for one in addresses])},
    )  # fmt: skip
    return {row.address: row.id for row in found.all()}


def activate(
    connection: Connection, publication: str, list_slug: str, ids: Sequence[int], now: datetime
) -> dict[int, int]:
    """Put subscribers on a list: the subscription by subscriber, of those who were not on it before.

    Who waits for a confirmation is on it with this; who has left stays away.
    """
    (subscriber,) = _fields(connection, 1, "bigint")
    found = connection.execute(
        _statement(f"""
            INSERT INTO subscriptions
              (publication, list_slug, subscriber_id, status, generation, created_at, confirmed_at)
            SELECT :publication, :list_slug, {subscriber}, '{_ACTIVE}', 0, :now, :now FROM {_rows(connection)}
            WHERE true
            ON CONFLICT (subscriber_id, list_slug) DO UPDATE SET status = '{_ACTIVE}', confirmed_at = :now
            WHERE subscriptions.status = '{_PENDING}' AND subscriptions.unsubscribed_at IS NULL
            RETURNING subscriber_id, id
        """),
        {"publication": publication, "list_slug": list_slug, "rows": _json([(one,) for one in ids]), "now": now},
    )  # fmt: skip
    return {row.subscriber_id: row.id for row in found.all()}


def add_consents(
    connection: Connection, rows: Sequence[tuple[int, datetime | None, str, str]], form: str, now: datetime
) -> None:
    """`rows`: (subscription, at, ip, evidence); None means now."""
    (subscription,) = _fields(connection, 1, "bigint")
    _, at, ip, evidence = _fields(connection, 4)
    this_time = _stored(now)
    as_time = at if connection.dialect.name == "sqlite" else f"CAST({at} || '+00' AS timestamptz)"
    connection.execute(
        _statement(f"""
            INSERT INTO consents (subscription_id, action, at, ip, form, wording, evidence)
            SELECT {subscription}, '{ConsentAction.IMPORTED.value}', {as_time}, {ip}, :form, '', {evidence}
            FROM {_rows(connection)}
        """, now=False),
        {
            "form": form,
            "rows": _json([(one, this_time if when is None else _stored(when), *rest) for one, when, *rest in rows]),
        },
    )  # fmt: skip


def add_labels(connection: Connection, rows: Sequence[tuple[int, str]]) -> None:
    """`rows`: (subscriber, label). Those that are there stay."""
    (subscriber,) = _fields(connection, 1, "bigint")
    _, label = _fields(connection, 2)
    connection.execute(
        _statement(f"""
            INSERT INTO subscriber_labels (subscriber_id, label)
            SELECT {subscriber}, {label} FROM {_rows(connection)} WHERE true
            ON CONFLICT DO NOTHING
        """, now=False),
        {"rows": _json(sorted(set(rows)))},
    )  # fmt: skip


def count_unsubscribed(connection: Connection, list_slug: str, ids: Sequence[int]) -> int:
    (subscriber,) = _fields(connection, 1, "bigint")
    found: int = connection.execute(
        _statement(f"""
            SELECT count(*) FROM {_rows(connection)}
            CROSS JOIN subscriptions t WHERE t.subscriber_id = {subscriber} AND t.list_slug = :list_slug
            AND t.status <> '{_ACTIVE}' AND t.unsubscribed_at IS NOT NULL
        """, now=False),
        {"list_slug": list_slug, "rows": _json([(one,) for one in ids])},
    ).scalar_one()  # fmt: skip
    return found


def count_suppressed(connection: Connection, publication: str, addresses: Sequence[str]) -> int:
    (address,) = _fields(connection, 1)
    found: int = connection.execute(
        _statement(f"""
            SELECT count(DISTINCT s.address) FROM {_rows(connection)}
            CROSS JOIN suppressions s WHERE s.address = {address} AND s.publication IN (:publication, '*')
        """, now=False),
        {"publication": publication, "rows": _json([(one,) for one in addresses])},
    ).scalar_one()  # fmt: skip
    return found


def _rows(connection: Connection) -> str:
    """`FROM` this: one row for each element of the JSON array `:rows`."""
    if connection.dialect.name == "sqlite":
        return "json_each(:rows) AS j"
    return "json_array_elements(CAST(:rows AS json)) AS j(value)"


def _fields(connection: Connection, count: int, kind: str = "text") -> list[str]:
    """Expressions for the members of such a row."""
    if connection.dialect.name == "sqlite":
        return [f"json_extract(j.value, '$[{place}]')" for place in range(count)]
    return [f"CAST(j.value ->> {place} AS {kind})" for place in range(count)]


def _statement(sql: str, *, now: bool = True) -> TextClause:
    return text(sql).bindparams(bindparam("now", type_=UtcDateTime)) if now else text(sql)


def _json(rows: Sequence[tuple[object, ...]]) -> str:
    return json.dumps(rows, ensure_ascii=False, separators=(",", ":"))


def _stored(at: datetime) -> str:
    """As SQLAlchemy stores a time in SQLite; every row of the column must read alike."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
