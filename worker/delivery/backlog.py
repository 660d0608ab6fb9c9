"""What stands before a hop that shares its claims with others: how much of it may wait here, the rest elsewhere.

Mail for all unlisted domains is claimed together. What waits for one of their hops counts as work in hand, so that a
claim follows the pace; but a hop that takes seconds, or ten messages a second, would soon be all that is in hand. It
keeps about a second's work, and its other rows go to `deferred`, each until its turn.
"""

from __future__ import annotations

import heapq
import math
from threading import Lock

from worker.delivery.lane import Lane
from worker.domain.clock import Clock

# What waits at a slow hop beyond this many turns of its connections would be given back anyway.
_TURNS = 2
# A hop that takes a message in less never stands in the way: what waits there is gone before it is counted.
_QUICK_SECONDS = 0.01
# What may wait at one that does, in seconds of its own work, and from when on it is no more counted as in hand.
_AHEAD_SECONDS = 1.0
_CROWDED_SECONDS = 0.5
# … once it has taken its time for so long: a hiccup of its own, or of this machine, is over by then.
_PATIENCE_SECONDS = 1.0
# From when a row found no connection open until it is in hand again: its hold, the sweep, and a claim.
_BACK_SECONDS = 15.0
# A turn is no further away than this, however many stand before: the hop may be quicker by then. One that takes its
# time since a moment ago may have hiccuped: the first turns are nearer.
LONGEST_TURN_SECONDS = 300.0
FIRST_TURNS_SECONDS = 15.0
# Turns that are nearer to each other than this are one.
_BUCKETS_A_SECOND = 4
# Added again and again, its remainders are spread evenly (Knuth, The Art of Computer Programming, vol. 3, 6.4).
_GOLDEN = 0.618034
_MOST_BUCKETS = 2 * int(LONGEST_TURN_SECONDS) * _BUCKETS_A_SECOND


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
            while len(self._times) > _MOST_BUCKETS:
                # a process that never asks: the sweep is quick enough for it
                self._known.discard(heapq.heappop(self._times))

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
        self._booked_since = 0.0
        self._since: float | None = None
        self._quick_since: float | None = None
        self._back_at = 0.0
        self._spread = 0.0

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
            if not self._has_long_taken(lane):
                return wanted
            most = max(most, _AHEAD_SECONDS / lane.each)
        return min(wanted, max(0, int(most) - len(lane.waiting)))

    def _has_long_taken(self, lane: Lane) -> bool:
        """It takes its time, and has done so for a moment.

        One look at an empty lane says little: then it is judged by the connections that it may have.
        """
        now = self._clock.ticks()
        if self.takes_its_time(lane):
            self._quick_since = None
            self._since = now if self._since is None else self._since
            return now >= self._since + _PATIENCE_SECONDS
        self._quick_since = now if self._quick_since is None else self._quick_since
        if now >= self._quick_since + _PATIENCE_SECONDS:
            self._since = None
            # those away come at their turns, and are no reason to send others away if it takes its time again
            self._booked_until = 0.0
        return False

    def book(self, lane: Lane, most: float = math.inf) -> float:
        """A turn behind all that wait, here and elsewhere: seconds until then. 0 where no pace is known yet.

        By the pace of all the connections it may have (`most`: from all workers together): a turn that comes too early
        is asked for again, one that comes too late leaves them idle. What does not fit comes again in good time, and
        not all at once.
        """
        if not lane.took:
            return 0.0
        now = self._clock.ticks()
        if self._booked_until < now:
            self._booked_since = now
        furthest = min(LONGEST_TURN_SECONDS, max(FIRST_TURNS_SECONDS, now - self._booked_since))
        # what waits here for longer will have a turn of its own
        before = max(self._booked_until, now + min(_AHEAD_SECONDS, len(lane.waiting) * lane.each))
        turn = before + lane.took / max(1.0, min(lane.most, most))
        if turn > now + furthest:
            self._spread = (self._spread + _GOLDEN) % 1.0
            return (0.5 + self._spread / 2) * furthest
        self._booked_until = turn
        self._turns.add(turn - now)
        return turn - now

    def expect_back(self) -> None:
        """A row found no connection open yet."""
        self._back_at = self._clock.ticks() + _BACK_SECONDS

    def awaits(self) -> float:
        """Seconds for which a connection is worth keeping: until then the last of such rows is in hand again."""
        return max(0.0, self._back_at - self._clock.ticks())
