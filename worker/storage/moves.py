"""Counting: every move of deliveries moves their tallies in the same transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from sqlalchemy import Connection, Insert
from sqlalchemy.dialects import postgresql, sqlite

from worker.domain.delivery import DeliveryStatus, Reason, check_move
from worker.storage.models import TallyRow

Place = tuple[int, str, str]
"""(slice id, status, reason)"""


@dataclass(frozen=True, slots=True)
class Move:
    """`n` deliveries of one slice going from one status and reason to another."""

    slice_id: int
    old: DeliveryStatus
    old_reason: Reason
    new: DeliveryStatus
    new_reason: Reason
    n: int = 1


def record_moves(connection: Connection, moves: Iterable[Move]) -> None:
    """Check each move against the domain's table and shift the tallies. Raises `IllegalMove`."""
    change: Counter[Place] = Counter()
    for move in moves:
        check_move(move.old, move.new)
        change[(move.slice_id, move.old, move.old_reason)] -= move.n
        change[(move.slice_id, move.new, move.new_reason)] += move.n
    add_tallies(connection, change)


def add_tallies(connection: Connection, change: Counter[Place]) -> None:
    """Add signed counts. In sorted order, so that two writers never wait for each other crosswise."""
    rows = [
        {"slice_id": place[0], "status": str(place[1]), "reason": str(place[2]), "n": n}
        for place, n in sorted(change.items())
        if n
    ]
    if not rows:
        return
    connection.execute(_upsert(connection.dialect.name), rows)


@cache
def _upsert(dialect: str) -> Insert:
    """Made once: making it takes longer than running it, and every move of mail does, with the lock held."""
    insert = (sqlite if dialect == "sqlite" else postgresql).insert(TallyRow)
    upsert: Insert = insert.on_conflict_do_update(
        index_elements=["slice_id", "status", "reason"],
        set_={"n": TallyRow.n + insert.excluded.n},
    )
    return upsert
