"""A ledger that went back in time is noticed before it sends: it starts held, and says what it would send.

With each sweep its mark moves on, first in the ledger, then in what remembers it outside. So what is remembered is
never ahead of the ledger, unless the ledger is an older copy of what it was. That is looked at when a process starts to
send, at the beginning of each of its turns, and by each sweep.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import structlog
from sqlalchemy import Connection

from worker.delivery.witnesses import Memory, Unreachable, Witness
from worker.domain.clock import Clock
from worker.storage import ledger
from worker.storage.database import Database
from worker.storage.glance import through
from worker.storage.held import would_send
from worker.storage.ledger import Mark

log = structlog.get_logger(__name__)

# A PostgreSQL standby that takes over may lack the last moments: that is a lost host (docs/promises.md), not a restore.
SLIP_SECONDS = 60


class Guard:
    """One process's. `witnesses` are what remembers outside of the ledger."""

    def __init__(self, database: Database, clock: Clock, witnesses: Sequence[Witness]) -> None:
        self._database = database
        self._clock = clock
        self._witnesses = witnesses
        self._unasked = list(witnesses)
        self._own: Memory | None = None

    def check(self, *, ask_all: bool = False) -> bool:
        """Whether bulk mail may go. Holds everything where the ledger went back."""
        if ask_all:
            self._unasked = list(self._witnesses)
        with self._database.read() as connection:
            seen = ledger.look(connection)
        for name, memory in self._memories():
            if seen.held_at is None and _behind(seen, memory) > 0:
                seen = self._went_back(name, memory)
        self._own = Memory(seen.identity, seen.mark)
        return seen.held_at is None

    def beat(self) -> None:
        """A sweep is through: the mark moves on, here and in what remembers it."""
        self.check(ask_all=True)
        with self._database.write() as connection:
            seen = ledger.advance(connection, self._clock.now())
        self._own = Memory(seen.identity, seen.mark)
        for one in self._witnesses:
            one.remember(self._own)

    def _memories(self) -> list[tuple[str, Memory]]:
        """This process's own, and those that have not been asked yet."""
        found = [] if self._own is None else [("this process", self._own)]
        later = []
        for one in self._unasked:
            try:
                memory = one.recall()
            except Unreachable:
                later.append(one)
            else:
                found += [] if memory is None else [(one.name, memory)]
        self._unasked = later
        return found

    def _went_back(self, name: str, memory: Memory) -> Mark:
        with self._database.write() as connection:
            seen = ledger.look(connection, lock=True)
            behind = _behind(seen, memory)
            if seen.held_at is None and behind > 0:
                if seen.identity == memory.identity and behind <= SLIP_SECONDS:
                    ledger.step_over(connection, memory.mark)
                    log.warning("ledger_lost_its_last_moments", seconds=behind, remembered_by=name)
                else:
                    self._hold(connection, _why(seen, memory, behind, name), memory.mark)
            return ledger.look(connection)

    def _hold(self, connection: Connection, why: str, above: int) -> None:
        ledger.hold(connection, self._clock.now(), why, above)
        found = would_send(through(connection))
        log.error("sending_held", why=why, would_send=found, see="`pressrun status`, `pressrun db release`")


def _behind(seen: Mark, memory: Memory) -> int:
    """By how many seconds what is remembered is ahead of this ledger; 0 or less: it is not.

    Another ledger than the remembered one may be a new one, which has no mark yet; one that was answered for; or a copy
    from elsewhere, which is held as a restored one is.
    """
    if memory.identity == seen.identity:
        return memory.mark - seen.mark
    return memory.mark - seen.cleared if seen.mark else 0


def _why(seen: Mark, memory: Memory, behind: int, name: str) -> str:
    if memory.identity != seen.identity:
        return f"this is another database than the one that {name} remembers: a copy from elsewhere?"
    return f"the database is {timedelta(seconds=behind)} older than what {name} remembers: restored from a copy?"
