"""Taking over: what a dead or stopped owner left is read from its journal, and the rest goes back.

A lease whose owner is dead (its journal can be locked) is taken over at once; one whose owner lives, or whose
journal is on another host, when it has expired. Promise 3: nothing stays `sending` past its lease.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection

from worker.delivery import queries
from worker.delivery.claim import claimed
from worker.delivery.journal import Deceased, Entries, host_id, read_journal
from worker.delivery.parcels import Claimed, Result
from worker.delivery.record import RecordPolicy, record
from worker.delivery.transports.base import Exchange
from worker.domain.clock import Clock
from worker.domain.delivery import DeliveryStatus, Reason
from worker.domain.replies import Stage
from worker.storage.database import Database
from worker.storage.moves import Move, record_moves

# One transaction's worth of rows; see `recorder.SET_SIZE`.
_SET_SIZE = 250


@dataclass(frozen=True, slots=True)
class _Held:
    id: int
    expires_at: datetime


class Recovery:
    """`folder` is where this host's journals are."""

    def __init__(self, database: Database, clock: Clock, policy: RecordPolicy, folder: Path) -> None:
        self._database = database
        self._clock = clock
        self._policy = policy
        self._folder = folder

    def run(self) -> int:
        """Take over what is to be taken over; how many leases that were."""
        with self._database.read() as connection:
            rows = queries.leases(connection)
        by_owner: dict[str, list[_Held]] = defaultdict(list)
        for row in rows:
            by_owner[row.owner].append(_Held(row.id, row.expires_at))
        self._folder.mkdir(parents=True, exist_ok=True)
        return sum(self._owner(owner, held) for owner, held in by_owner.items())

    def _owner(self, owner: str, held: Sequence[_Held]) -> int:
        host, _, name = owner.partition(":")
        path = self._folder / name
        here = host == host_id(self._folder)
        dead = Deceased.seize(path) if here else None
        gone = here and (dead is not None or not path.exists())
        due = [one for one in held if gone or one.expires_at <= self._clock.now()]
        try:
            entries = read_journal(path) if here and due else {}
            for one in due:
                self._take_over(one.id, entries)
        except BaseException:
            if dead is not None:
                dead.release(bury=False)
            raise
        if dead is not None:
            dead.release(bury=True)
        return len(due)

    def _take_over(self, lease_id: int, entries: Entries) -> None:
        more = True
        while more:
            with self._database.write() as connection:
                rows = queries.under_lease(connection, lease_id, _SET_SIZE)
                self._settle(connection, [claimed(row, lease_id) for row in rows], entries)
                more = len(rows) == _SET_SIZE
                if not more:
                    queries.close_leases(connection, [lease_id])

    def _settle(self, connection: Connection, rows: Sequence[Claimed], entries: Entries) -> None:
        """Journalled outcomes are recorded, a begun body is an unknown outcome, the rest was never started."""
        results = []
        untouched = []
        for row in rows:
            entry = entries.get((row.id, row.lease_id))
            if entry is None:
                untouched.append(row)
            else:
                exchange = entry.exchange or Exchange(Stage.BODY, None, "the sending process died", 0.0)
                results.append(Result(row, entry.at or self._clock.now(), exchange))
        record(connection, self._policy, results)
        if untouched:
            # not clean: the row was in the hands of a process that died, which counts against it
            queries.give_back(connection, [row.id for row in untouched], clean=False)
            record_moves(connection, [_back(row) for row in untouched])


def _back(row: Claimed) -> Move:
    return Move(row.slice_id, DeliveryStatus.SENDING, Reason.NONE, DeliveryStatus.QUEUED, Reason.NONE)
