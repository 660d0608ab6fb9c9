"""The ledger's word on itself: which one it is, how far it has come, and whether sending is held.

A database that is restored from an older copy has forgotten who was written to since, who left, and which ids it gave
out. Its mark, compared with what is remembered outside of it (`delivery.guard`), tells.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, insert, select, text, update

from worker.storage.models import LedgerRow

_L = LedgerRow

# Tables whose ids are known outside: in Message-IDs and return paths, in links, at publishers, in journals.
_KNOWN_OUTSIDE = ("campaigns", "deliveries", "leases", "subscriptions")

# More than are given out between any backup and its restore: ten days' worth at 100 million mails a day. Ids have
# 63 bits, and even 53 hold millions of such jumps.
JUMP = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Mark:
    """See `models.LedgerRow`."""

    identity: str
    mark: int
    cleared: int
    swept_at: datetime | None
    held_at: datetime | None
    held_why: str


NEW = Mark("", 0, 0, None, None, "")
"""A ledger that no sweep has been through yet."""


def look(connection: Connection, *, lock: bool = False) -> Mark:
    columns = _L.identity, _L.mark, _L.cleared, _L.swept_at, _L.held_at, _L.held_why
    statement = select(*columns)
    row = connection.execute(statement.with_for_update() if lock else statement).one_or_none()
    return NEW if row is None else Mark(*row)


def advance(connection: Connection, now: datetime) -> Mark:
    """A sweep is through: the mark moves on."""
    seen = look(connection, lock=True)
    mark = max(seen.mark + 1, int(now.timestamp()))
    if seen == NEW:
        _begin(connection, mark, now)
    else:
        connection.execute(update(_L).values(mark=mark, swept_at=now))
    return look(connection)


def hold(connection: Connection, now: datetime, why: str, above: int = 0) -> bool:
    """Nothing is claimed from now on, and ids jump; False where it is held already. The mark goes above `above`."""
    seen = look(connection, lock=True)
    if seen.held_at is not None:
        return False
    mark = max(seen.mark, above, int(now.timestamp())) + 1
    if seen == NEW:
        _begin(connection, mark, now)
    connection.execute(update(_L).values(mark=mark, held_at=now, held_why=why))
    jump_ids(connection)
    return True


def step_over(connection: Connection, above: int) -> None:
    """The last moments are lost, no more: ids of theirs are not used again, and the mark goes on above them."""
    connection.execute(update(_L).values(mark=above + 1))
    jump_ids(connection)


def release(connection: Connection, now: datetime) -> bool:
    """Sending goes on; False where it was not held. What is remembered elsewhere is answered for by it."""
    seen = look(connection, lock=True)
    if seen.held_at is None:
        return False
    mark = max(seen.mark, int(now.timestamp())) + 1
    connection.execute(update(_L).values(mark=mark, cleared=mark, held_at=None, held_why=""))
    return True


def chains(connection: Connection) -> int | None:
    """How many chains of bulk turns there are to be; None where no sweep has counted the workers yet."""
    found: int | None = connection.execute(select(_L.chains)).scalar_one_or_none()
    return found


def set_chains(connection: Connection, number: int) -> bool:
    """Whether it is kept now: a ledger that no sweep has been through has no place for it."""
    return connection.execute(update(_L).values(chains=number)).rowcount == 1


def jump_ids(connection: Connection) -> None:
    """Ids that a lost part of the ledger may have given out are not given out again.

    Or two mails would have one Message-ID, a late bounce would meet the wrong delivery, and a link in an old mail
    would be another reader's.
    """
    for table in _KNOWN_OUTSIDE:
        last = int(connection.execute(text(f"SELECT coalesce(max(id), 0) FROM {table}")).scalar_one())  # noqa: S608
        if connection.dialect.name == "sqlite":
            _jump_sqlite(connection, table, last)
        else:
            sequence = select(func.pg_get_serial_sequence(table, "id")).scalar_subquery()
            upcoming = connection.execute(select(func.nextval(sequence))).scalar_one()
            connection.execute(select(func.setval(sequence, max(last, int(upcoming)) + JUMP)))


def _jump_sqlite(connection: Connection, table: str, last: int) -> None:
    found = connection.execute(text("SELECT seq FROM sqlite_sequence WHERE name = :t"), {"t": table}).scalar()
    values = {"t": table, "seq": max(last, int(found or 0)) + JUMP}
    changed = connection.execute(text("UPDATE sqlite_sequence SET seq = :seq WHERE name = :t"), values).rowcount
    if not changed:
        connection.execute(text("INSERT INTO sqlite_sequence (name, seq) VALUES (:t, :seq)"), values)


def _begin(connection: Connection, mark: int, now: datetime) -> None:
    values = {"id": 1, "identity": secrets.token_hex(16), "mark": mark, "cleared": mark, "swept_at": now}
    connection.execute(insert(_L).values(**values, held_at=None, held_why=""))
