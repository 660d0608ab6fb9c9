"""The transactional lane: confirmations and the like, oldest first, each as soon as its limits allow."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack

from worker.delivery import queries
from worker.delivery.bulk import LONGEST_WAIT_SECONDS
from worker.delivery.claim import Claim
from worker.delivery.limits import Limits
from worker.delivery.portions import BUSY_SECONDS, Waited
from worker.delivery.press import Press
from worker.delivery.queries import AnyRow
from worker.delivery.spending import Spending
from worker.domain.clock import Clock
from worker.storage.database import Database

# Rows looked at in one go. Those of a destination that is shut do not hide the others: the next page is looked at.
PEEK = 200
TURN_SECONDS = 3.0

_Group = tuple[str, str]
"""(publication, destination)"""


class Transactional:
    """One process's share of the lane."""

    def __init__(
        self, database: Database, clock: Clock, press: Press, spending: Spending, limits: Limits, waited: Waited
    ) -> None:
        self._database = database
        self._clock = clock
        self._press = press
        self._spending = spending
        self._limits = limits
        self._waited = waited

    def run(self) -> int:
        """Send what is queued until nothing is left that may go now; how many were handed over."""
        until = self._clock.ticks() + TURN_SECONDS
        sent = 0
        while self._clock.ticks() < until:
            handed, wait = self._pass(until)
            sent += handed
            if wait > LONGEST_WAIT_SECONDS:
                break
            if handed == 0:
                self._press.wait(max(wait, 0.01))
        self._press.drain(0.0)
        return sent

    def _pass(self, until: float) -> tuple[int, float]:
        """Through the queue up to the first page with something to send; handed over, and the shortest wait."""
        shut: dict[_Group, float] = {}
        waits = []
        after = 0
        while rows := self._peek(after):
            handed, wait = self._round(rows, shut)
            waits.append(wait)
            if handed or len(rows) < PEEK or self._press.room("") <= 0 or self._clock.ticks() > until:
                return handed, min(waits)
            after = rows[-1].id
        return 0, min(waits, default=math.inf)

    def _peek(self, after: int) -> Sequence[AnyRow]:
        with self._database.read() as connection:
            return queries.peek_transactional(connection, after, PEEK)

    def _round(self, rows: Sequence[AnyRow], shut: dict[_Group, float]) -> tuple[int, float]:
        """One claim for each publication and destination that is not shut; the shortest wait where none was made."""
        groups: dict[_Group, list[int]] = defaultdict(list)
        for row in rows:
            groups[(row.publication, row.destination)].append(row.id)
        handed = 0
        waits = []
        for (publication, destination), ids in groups.items():
            taken, wait = 0, shut.get((publication, destination), 0.0)
            room = 0 if wait else self._press.room(destination)
            if room > 0:
                taken, wait = self._claim(publication, destination, ids[:room])
            elif not wait:
                wait = self._press.shut(destination) or BUSY_SECONDS
            if wait:
                shut[(publication, destination)] = wait
            handed += taken
            waits.append(wait)
        return handed, min(waits)

    def _claim(self, publication: str, destination: str, ids: Sequence[int]) -> tuple[int, float]:
        admission = self._press.admit(destination, len(ids))
        if admission.messages == 0:
            return 0, max(admission.wait, BUSY_SECONDS)
        limits = self._limits.of(publication, destination)
        claim: Claim | None = None
        handed = 0
        with ExitStack() as stack:
            stack.callback(lambda: self._press.unused(destination, admission.messages - handed))
            grant = self._spending.take(limits, admission.messages, urgent=True)
            if grant.tokens == 0:
                self._waited(grant.blocked_by, grant.wait)
                return 0, grant.wait
            # sent first, as in bulk
            stack.callback(lambda: self._spending.claimed(limits, grant, claim, destination))
            claim = self._press.claimer.transactional(ids[: grant.tokens])
            if claim is not None:
                self._press.send(claim)
                handed = len(claim.claimed)
        return handed, 0.0
