"""The SQL of the warm-up's counters: one row for each sending domain, day and lane."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from sqlalchemy import Connection, bindparam, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import aliased

from worker.delivery.queries import AnyRow
from worker.domain.warmup import Lane
from worker.storage.models import WarmupDayRow

_W = WarmupDayRow
_OTHER = aliased(WarmupDayRow)
# Read, not locked: transactional mail is not held back, so what it takes meanwhile would change nothing.
_BESIDE = (
    select(_OTHER.used).where(_OTHER.domain == _W.domain, _OTHER.day == _W.day, _OTHER.lane == Lane.TRANSACTIONAL)
).scalar_subquery()
_LOCK_BULK = (
    select(_W.id, _W.used, func.coalesce(_BESIDE, 0).label("transactional"))
    .where(_W.domain == bindparam("domain"), _W.day == bindparam("day"), _W.lane == Lane.BULK)
    .with_for_update(of=_W)
)
_ADD = update(_W).where(_W.id == bindparam("counter")).values(used=_W.used + bindparam("n"))


def lock_bulk(connection: Connection, domain: str, day: date) -> AnyRow:
    """(id, used, transactional): the bulk lane's counter, kept still until the end of this transaction."""
    key = {"domain": domain, "day": day}
    found = connection.execute(_LOCK_BULK, key).first()
    if found is None:
        _count(connection, domain, day, Lane.BULK, 0)
        found = connection.execute(_LOCK_BULK, key).one()
    return found


def used(connection: Connection, domain: str, day: date) -> dict[str, int]:
    """{lane: mails}, only looked at."""
    rows = connection.execute(select(_W.lane, _W.used).where(_W.domain == domain, _W.day == day))
    return {row.lane: row.used for row in rows}


def count_transactional(connection: Connection, domain: str, day: date, n: int) -> int:
    """Add to the transactional lane's counter; its id."""
    return _count(connection, domain, day, Lane.TRANSACTIONAL, n)


def _count(connection: Connection, domain: str, day: date, lane: Lane, n: int) -> int:
    insert = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(_W)
    statement = insert.values(domain=domain, day=day, lane=lane, used=n).on_conflict_do_update(
        index_elements=["domain", "day", "lane"], set_={"used": _W.used + insert.excluded.used}
    )
    return int(connection.execute(statement.returning(_W.id)).scalar_one())


def add(connection: Connection, changes: Mapping[int, int]) -> None:
    """Add signed counts. In sorted order, so that two writers never wait for each other crosswise."""
    if changes:
        connection.execute(_ADD, [{"counter": counter, "n": n} for counter, n in sorted(changes.items())])


def delete_before(connection: Connection, day: date) -> int:
    return connection.execute(delete(_W).where(_W.day < day)).rowcount
