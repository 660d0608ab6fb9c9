"""The recorder: a thread that writes results to the ledger in sets, and keeps open leases alive."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import timedelta

import structlog

from worker.delivery import queries
from worker.delivery.parcels import Lease, Result
from worker.delivery.record import RecordPolicy, record
from worker.domain.clock import Clock
from worker.domain.errors import TemporaryError
from worker.storage.database import Database

log = structlog.get_logger(__name__)

# A set is one transaction: on SQLite it has to stay near 10 ms (a row costs about 30 µs).
SET_SIZE = 250

# Results are gathered this long, so that a set is worth its commit: a rate limit lets them come in tens.
GATHER_SECONDS = 0.1

_RETRY_SECONDS = 0.5


class Recorder:
    """Owns the leases of its process from the claim until their last outcome is in the ledger.

    While the database is away, results wait here and in the journal; nothing is sent again for it.
    """

    def __init__(
        self, database: Database, policy: RecordPolicy, clock: Clock, lease: timedelta,
        recorded: Callable[[Sequence[Result]], None],
    ) -> None:  # fmt: skip
        self._database = database
        self._policy = policy
        self._clock = clock
        self._lease = lease
        self._recorded = recorded
        self._results: deque[Result] = deque()
        self._some = threading.Event()
        self._many = threading.Event()
        self._stopping = False
        self._leases: dict[int, Lease] = {}
        self._spoilt: set[int] = set()
        self._idle = threading.Condition()
        self._open = 0
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def expect(self, lease: Lease) -> None:
        """A claim was made: its results will come."""
        with self._idle:
            self._leases[lease.id] = lease
            self._open += lease.open

    def take(self, result: Result) -> None:
        """From any thread; never blocks. It wakes the recorder twice a set, not for each result."""
        self._results.append(result)
        waiting = len(self._results)
        if waiting >= SET_SIZE:
            self._many.set()
        elif waiting <= 2:  # two threads may each see the other's
            self._some.set()

    def wait_idle(self, seconds: float) -> bool:
        """Whether everything expected is recorded, within `seconds`."""
        with self._idle:
            return self._idle.wait_for(lambda: self._open == 0, seconds)

    @property
    def open(self) -> int:
        """Deliveries claimed and not recorded."""
        return self._open

    @property
    def leases(self) -> set[int]:
        """Of the claims that are not wholly recorded, those among them that never will be by us."""
        with self._idle:
            return {*self._leases, *self._spoilt}

    def stop(self, seconds: float) -> bool:
        """Record what has come in, then end the thread; whether that was done within `seconds`."""
        self._stopping = True
        self._some.set()
        self._many.set()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    # -- in the recorder's thread

    def _run(self) -> None:
        renew_at = 0.0
        running = True
        while running:
            # before the results are taken: those that came until then are
            running = not self._stopping
            results = self._gather()
            try:
                if results:
                    self._write(results)
                if self._clock.ticks() >= renew_at:
                    renew_at = self._clock.ticks() + 1.0
                    self._renew()
            except Exception:
                # without this thread the process would go on sending, and nothing of it would be written down
                log.exception("recorder_broke")
            running = running or bool(self._results)

    def _gather(self) -> list[Result]:
        """Up to a set of results; none when there were none for a second."""
        if not self._results and not self._stopping:
            self._some.wait(1.0)
        self._some.clear()
        if len(self._results) < SET_SIZE and not self._stopping:
            self._many.wait(GATHER_SECONDS)
        self._many.clear()
        results: list[Result] = []
        while self._results and len(results) < SET_SIZE:
            results.append(self._results.popleft())
        return results

    def _write(self, results: list[Result]) -> None:
        results, ended = self._settled(results)
        written = self._recorded_set(results, [lease.id for lease in ended if not lease.spoilt])
        with self._idle:
            for lease in ended:
                self._leases.pop(lease.id, None)
                if lease.spoilt:
                    self._spoilt.add(lease.id)
            self._open -= len(results)
            self._idle.notify_all()
        self._recorded(written)

    def _recorded_set(self, results: list[Result], done: list[int]) -> list[Result]:
        """All in one transaction; one by one where the set will not go, so that one bad row stops no other.

        A row that will not go by itself either keeps its lease, which nobody renews: the sweep gets it.
        """
        try:
            return self._persist(results, done)
        except Exception:
            log.exception("record_failed", results=len(results))
        written = []
        for result in results:
            try:
                written += self._persist([result], [])
            except Exception:
                log.exception("record_failed", delivery=result.claimed.id)
                self._leases[result.claimed.lease_id].spoilt = True
        return written

    def _persist(self, results: list[Result], done: list[int]) -> list[Result]:
        """Waits for a database that is away; raises for anything else."""
        while True:
            try:
                with self._database.write(journalled=True) as connection:
                    written = record(connection, self._policy, results)
                    if done:
                        queries.close_leases(connection, done)
                return written
            except TemporaryError as error:
                log.warning("record_waits", error=str(error), results=len(results))
                time.sleep(_RETRY_SECONDS)

    def _settled(self, results: Sequence[Result]) -> tuple[list[Result], list[Lease]]:
        """Those that were waited for, and the leases whose last outcome is among them."""
        expected, ended = [], []
        for result in results:
            lease = self._leases.get(result.claimed.lease_id)
            if lease is None or lease.open == 0:
                log.error("result_nobody_waits_for", delivery=result.claimed.id)
                continue
            expected.append(result)
            lease.open -= 1
            if lease.open == 0:
                ended.append(lease)
        return expected, ended

    def _renew(self) -> None:
        """A conversation may be slow: its lease is moved on once half of it is over."""
        half = self._lease.total_seconds() / 2
        soon = self._clock.ticks() + half
        with self._idle:
            due = [one for one in self._leases.values() if 0 < one.valid_until < soon and not one.spoilt]
        if not due:
            return
        try:
            with self._database.write() as connection:
                # not before: the wait for its turn may be long
                ticks, now = self._clock.ticks(), self._clock.now()
                ends = {one.id: one.expires_at for one in due}
                kept = queries.renew_leases(connection, ends, now, now + self._lease)
        except TemporaryError as error:
            log.warning("renewal_waits", error=str(error), leases=len(due))
            return
        for lease in due:
            if lease.id in kept:
                lease.valid_until = ticks + self._lease.total_seconds()
                lease.expires_at = now + self._lease
            else:
                # taken over, or over: whatever the clocks say from now on, nothing of it begins
                lease.valid_until = 0.0
