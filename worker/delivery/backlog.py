"""What stands before a hop that shares its claims with others: how much of it may wait here, the rest elsewhere.

Mail for all unlisted domains is claimed together. What waits for one of their hops counts as work in hand, so that a
claim follows the pace; but a hop that takes seconds, or ten messages a second, would soon be all that is in hand. It
keeps about a second's work, and its other rows go to `deferred`, each until its turn.
"""

from __future__ import annotations

import heapq
import math
from threading import Lock

from worker.delivery.jobs import Lane
from worker.domain.clock import Clock

# What waits at a slow hop beyond this many turns of its connections would be given back anyway.
_TURNS = 2
# A hop that takes a message in less never stands in the way: what waits there is gone before it is counted.
_QUICK_SECONDS = 0.01
# What may wait at one that does, in seconds of its own work, and from when on it is no more counted as in hand.
_AHEAD_SECONDS = 1.0
_CROWDED_SECONDS = 0.5
# From when a row is deferred until it is in hand again at the latest: the sweep comes by, and a claim.
_SWEEP_SECONDS = 10.0
# Longer waits are not waited for with an open connection.
_AWAITED_SECONDS = 10.0
# A turn is no further away than this, however many stand before: the hop may be quicker by then.
LONGEST_TURN_SECONDS = 600.0
# Turns that are nearer to each other than this are one.
_BUCKETS_A_SECOND = 4


class Turns:
    """When rows that were deferred for their turn come back, at all hops of a process. Safe from any thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._times: list[int] = []
        self._known: set[int] = set()
        self._lock = Lock()

    def add(self, seconds: float) -> None:
        """One comes back then."""
        at = math.ceil((self._clock.ticks() + seconds) * _BUCKETS_A_SECOND)
        with self._lock:
            if at not in self._known:
                self._known.add(at)
                heapq.heappush(self._times, at)

    def due(self) -> bool:
        """Whether some should be back by now that were not the last time."""
        found = False
        with self._lock:
            while self._times and self._wait() <= 0:
                self._known.discard(heapq.heappop(self._times))
                found = True
        return found

    def wait(self) -> float:
        """Seconds until the next comes back; infinite where none will."""
        with self._lock:
            return max(0.0, self._wait()) if self._times else math.inf

    def _wait(self) -> float:
        return self._times[0] / _BUCKETS_A_SECOND - self._clock.ticks()


class Backlog:
    """Of one hop."""

    def __init__(self, clock: Clock, turns: Turns) -> None:
        self._clock = clock
        self._turns = turns
        self._booked_until = 0.0
        self._back_at = 0.0

    def takes_its_time(self, lane: Lane) -> bool:
        """A message takes long enough to be in the way of others."""
        return lane.each >= _QUICK_SECONDS

    def crowds(self, lane: Lane) -> bool:
        """It takes its time, and more waits than it takes in half a second: no reason to let the others wait."""
        return self.takes_its_time(lane) and len(lane.waiting) * lane.each > _CROWDED_SECONDS

    def room(self, lane: Lane, wanted: int) -> int:
        """How many of so many more may wait here."""
        most = _TURNS * lane.bound
        if not lane.slow:
            if not self.takes_its_time(lane):
                return wanted
            most = max(most, _AHEAD_SECONDS / lane.each)
        return min(wanted, max(0, int(most) - len(lane.waiting)))

    def book(self, lane: Lane) -> float:
        """A turn behind all that wait, here and elsewhere: seconds until then. 0 where no pace is known yet.

        By the pace of all the connections it may have: a turn that comes too early is asked for again, one that
        comes too late leaves them idle.
        """
        if not lane.took:
            return 0.0
        now = self._clock.ticks()
        # what waits here for longer will have a turn of its own
        before = max(self._booked_until, now + min(_AHEAD_SECONDS, len(lane.waiting) * lane.each))
        self._booked_until = min(before + lane.took / max(1.0, lane.most), now + LONGEST_TURN_SECONDS)
        self._turns.add(self._booked_until - now)
        return self._booked_until - now

    def expect(self, seconds: float) -> None:
        """A row waits elsewhere for so long."""
        if seconds <= _AWAITED_SECONDS:
            self._back_at = max(self._back_at, self._clock.ticks() + seconds + _SWEEP_SECONDS)

    def awaits(self) -> float:
        """Seconds for which a connection is worth keeping: until then the last of such rows is in hand again."""
        return max(0.0, self._back_at - self._clock.ticks())
