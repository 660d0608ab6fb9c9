"""Taking over: what a dead or stopped owner left is read from its journal, and the rest goes back.

A lease whose owner is dead (its journal can be locked) is taken over at once; one whose owner lives, or whose
journal is on another host, when it has expired. Promise 3: nothing stays `sending` past its lease.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection

from worker.delivery import queries
from worker.delivery.claim import claimed
from worker.delivery.journal import Deceased, Entries, Entry, host_id, read_journal
from worker.delivery.parcels import Claimed, Result
from worker.delivery.record import RecordPolicy, record
from worker.delivery.transports.base import Exchange
from worker.domain.clock import Clock
from worker.domain.replies import Stage
from worker.storage.database import Database

# One transaction's worth of rows; see `recorder.SET_SIZE`.
_SET_SIZE = 250
_YOUNG_SECONDS = 60.0


def _may_be_unlocked(path: Path) -> bool:
    """A draft is opened before it is locked; a journal has its name from a draft that was."""
    return path.suffix == ".draft" and time.time() - path.stat().st_mtime < _YOUNG_SECONDS


@dataclass(frozen=True, slots=True)
class _Held:
    id: int
    expires_at: datetime
    warmup_day_id: int | None


class Recovery:
    """`folder` is where this host's journals are. `recorded` is told what was written, after the commit; `died`, which
    owner will do nothing any more.
    """

    def __init__(
        self, database: Database, clock: Clock, policy: RecordPolicy, folder: Path,
        recorded: Callable[[Sequence[Result]], None] = lambda _: None, died: Callable[[str], None] = lambda _: None,
    ) -> None:  # fmt: skip
        self._database = database
        self._clock = clock
        self._policy = policy
        self._folder = folder
        self._recorded = recorded
        self._died = died

    def run(self) -> int:
        """Take over what is to be taken over; how many leases that were."""
        self._folder.mkdir(parents=True, exist_ok=True)
        total = 0
        trouble: Exception | None = None
        for owner, held in self._leases().items():
            try:
                total += self._owner(owner, held)
            except Exception as error:
                # the others have their turn first
                trouble = error
        if trouble is not None:
            raise trouble
        self._bury_idle()
        return total + self._orphans()

    def _orphans(self) -> int:
        """How far they came is not known, so they count as unknown; nothing stays `sending` (promise 3)."""
        with self._database.read() as connection:
            if not queries.orphans(connection, 1):
                return 0
        lost = Entry(None, Exchange(Stage.BODY, None, "its lease is gone", 0.0))
        with self._database.write() as connection:
            rows = [claimed(row, row.lease_id) for row in queries.orphans(connection, _SET_SIZE)]
            written = self._settle(connection, rows, {(row.id, row.lease_id): lost for row in rows})
        self._recorded(written)
        return len(written)

    def _bury_idle(self) -> None:
        """Journals of processes that died with nothing in hand, and drafts of such: replies may name addresses.

        At once, for such a process may have had connections open, and nobody else gets them before it is let go.
        """
        owners = {owner.partition(":")[2] for owner in self._leases()}
        for path in [*self._folder.glob("*.journal"), *self._folder.glob("*.draft")]:
            with suppress(FileNotFoundError):
                if path.name in owners or _may_be_unlocked(path):
                    continue
                dead = Deceased.seize(path)
                if dead is not None:
                    # again, now that it can claim no more
                    held = {owner.partition(":")[2] for owner in self._leases()}
                    dead.release(bury=path.name not in held)
                    if path.suffix == ".journal":
                        self._died(f"{host_id(self._folder)}:{path.name}")

    def _leases(self) -> dict[str, list[_Held]]:
        with self._database.read() as connection:
            rows = queries.leases(connection)
        by_owner: dict[str, list[_Held]] = defaultdict(list)
        for row in rows:
            by_owner[row.owner].append(_Held(row.id, row.expires_at, row.warmup_day_id))
        return by_owner

    def _owner(self, owner: str, held: Sequence[_Held]) -> int:
        host, _, name = owner.partition(":")
        path = self._folder / name
        here = host == host_id(self._folder)
        dead = Deceased.seize(path) if here else None
        gone = here and (dead is not None or not path.exists())
        try:
            if dead is not None:
                # again, now that it can claim no more: what it took since the first look is in this journal too
                held = self._leases().get(owner, [])
            due = [one for one in held if gone or self._over(one)]
            entries = read_journal(path) if here and due else {}
            for one in due:
                self._take_over(one, entries)
        except BaseException:
            if dead is not None:
                dead.release(bury=False)
            raise
        if dead is not None:
            dead.release(bury=True)
            self._died(owner)
        return len(due)

    def _over(self, lease: _Held) -> bool:
        """Whether its time has passed; then its owner can renew it no more, and only now its journal is read.

        What was seen of it may be old: its owner may have renewed it since, or be about to.
        """
        if lease.expires_at >= self._clock.now():
            return False
        with self._database.write() as connection:
            return queries.end_lease(connection, lease.id, self._clock.now())

    def _take_over(self, lease: _Held, entries: Entries) -> None:
        more = True
        while more:
            with self._database.write() as connection:
                rows = queries.under_lease(connection, lease.id, _SET_SIZE)
                held = [claimed(row, lease.id, warmup_day_id=lease.warmup_day_id) for row in rows]
                written = self._settle(connection, held, entries)
                more = len(rows) == _SET_SIZE
                if not more:
                    queries.close_leases(connection, [lease.id])
            self._recorded(written)

    def _settle(self, connection: Connection, rows: Sequence[Claimed], entries: Entries) -> list[Result]:
        """Journalled outcomes are recorded, a begun body is an unknown outcome, the rest was never started."""
        results = []
        for row in rows:
            entry = entries.get((row.id, row.lease_id))
            if entry is None:
                results.append(Result(row, self._clock.now(), None))
            else:
                exchange = entry.exchange or Exchange(Stage.BODY, None, "the sending process died", 0.0)
                results.append(Result(row, entry.at or self._clock.now(), exchange))
        # not clean: the rows were in the hands of a process that died, which counts against them
        return record(connection, self._policy, results, clean=False)
