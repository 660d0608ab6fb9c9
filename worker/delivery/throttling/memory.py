"""The limiter of one process, and the reference for the one in Redis: the same rules, line by line, in Python.

Three things bound a grant. The *log* of what was granted within the last window is the promise: never above the
limit in any window. Two *paces* make it smooth: in the long run just below the limit, and after a stall not much
faster. Each pace is one number, the time at which its bucket was empty; one in the future is a debt.
Urgent mail is bound by the log alone, up to its share; the paces then hold the others back for it.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from worker.delivery.throttling.base import HOLD_SECONDS, Budget, Grant, Limit, LimitState
from worker.domain.clock import Clock

# Grants this close together share one entry, which counts until its last one leaves the window.
LOG_ENTRIES = 200
_TINY = 1e-9
_LEAST_WAIT = 1000


@dataclass(slots=True)
class _Entry:
    first: int
    last: int
    tokens: int


@dataclass(slots=True)
class _State:
    """One limit's. Times are microseconds of the clock."""

    log: deque[_Entry] = field(default_factory=deque)
    window: int = 0
    used: int = 0
    long: float = -math.inf
    fast: float = -math.inf
    urgent: float = -math.inf
    reserved: int = 0
    reserved_until: float = 0.0
    closed_until: float = 0.0
    why: str = ""

    def advance(self, budget: Budget, now: int) -> None:
        """Forget what has left the window, and what the buckets cannot hold."""
        self._step_back(now)
        self.window = budget.window
        while self.log and self.log[0].last + budget.window <= now:
            self.used -= self.log.popleft().tokens
        self.long = max(self.long, now - budget.long_reach)
        self.fast = max(self.fast, now - budget.fast_reach)
        self.urgent = max(self.urgent, now - budget.urgent_count * budget.urgent_interval)
        if self.reserved_until <= now:
            self.reserved = 0

    def _step_back(self, now: int) -> None:
        """A wall clock that was set back must not close the limit until it catches up: move the log along."""
        ahead = self.log[-1].last - now if self.log else 0
        if ahead <= 0:
            return
        for entry in self.log:
            entry.first -= ahead
            entry.last -= ahead
        self.long -= ahead
        self.fast -= ahead
        self.urgent -= ahead
        self.reserved_until -= ahead

    def urgent_tokens(self, budget: Budget, now: int) -> int:
        return math.floor((now - self.urgent) / budget.urgent_interval + _TINY)

    def available(self, budget: Budget, now: int, urgent: bool) -> int:
        paced = min((now - self.long) / budget.interval, (now - self.fast) / budget.fast_interval)
        tokens = math.floor(paced + _TINY)
        if urgent:
            return min(budget.count - self.used, max(tokens, self.urgent_tokens(budget, now)))
        return min(budget.count - self.used - self.reserved, tokens)

    def ready_at(self, budget: Budget, now: int, need: int, urgent: bool) -> float:
        """When `need` tokens may be there, if nobody else takes them."""
        at = max(self.long + need * budget.interval, self.fast + need * budget.fast_interval)
        if urgent:
            at = min(at, self.urgent + need * budget.urgent_interval)
        room = budget.count - self.used - (0 if urgent else self.reserved)
        for entry in self.log:
            if room >= need:
                return at
            room += entry.tokens
            at = max(at, entry.last + budget.window)
        return at if room >= need else max(at, self.reserved_until)

    def reserve(self, budget: Budget, now: int, wanted: int, ready_at: float) -> None:
        """Keep room in the window for urgent mail that is within its share."""
        entitled = self.urgent_tokens(budget, now)
        if entitled > 0:
            self.reserved = min(wanted, entitled)
            self.reserved_until = ready_at + HOLD_SECONDS * 1e6

    def charge(self, budget: Budget, now: int, tokens: int, urgent: bool) -> None:
        if urgent:
            own = min(tokens, max(0, self.urgent_tokens(budget, now)))
            self.urgent += own * budget.urgent_interval
            self.reserved = max(0, self.reserved - tokens)
        self.used += tokens
        self.long += tokens * budget.interval
        self.fast += tokens * budget.fast_interval
        tail = self.log[-1] if self.log else None
        if tail and now - tail.first < budget.window / LOG_ENTRIES:
            tail.last, tail.tokens = now, tail.tokens + tokens
        else:
            self.log.append(_Entry(now, now, tokens))

    def refund(self, budget: Budget, granted_at: int, tokens: int) -> None:
        """Strike from the oldest entries: they leave the window first, so the log never counts too little.

        None granted later is struck: tokens that come back after their window have left the log already.
        """
        self.long -= tokens * budget.interval
        self.fast -= tokens * budget.fast_interval
        while tokens > 0 and self.log and self.log[0].first <= granted_at:
            struck = min(tokens, self.log[0].tokens)
            self.log[0].tokens -= struck
            self.used -= struck
            tokens -= struck
            if self.log[0].tokens == 0:
                self.log.popleft()


class InMemoryLimiter:
    """For one process, and for tests. `urgent_share` is the part of each limit kept for urgent mail."""

    def __init__(self, clock: Clock, *, urgent_share: float = 0.1) -> None:
        self._clock = clock
        self._share = urgent_share
        self._states: dict[str, _State] = {}
        self._lock = threading.Lock()

    def take(self, limits: Sequence[Limit], wanted: int, *, urgent: bool = False) -> Grant:
        if not limits or wanted <= 0:
            return Grant(max(0, wanted))
        with self._lock:
            return self._take(limits, wanted, urgent)

    def _take(self, limits: Sequence[Limit], wanted: int, urgent: bool) -> Grant:
        now = self._now()
        states = [self._states.setdefault(limit.name, _State()) for limit in limits]
        closed, name = max((state.closed_until, limit.name) for state, limit in zip(states, limits, strict=True))
        if closed > now:
            return Grant(0, (closed - now) / 1e6, name, now)
        counted = [
            (state, Budget.of(limit, self._share), limit.name)
            for state, limit in zip(states, limits, strict=True)
            if limit.count != math.inf
        ]
        tokens, need, entitled = wanted, wanted, urgent
        for state, budget, _ in counted:
            state.advance(budget, now)
            tokens = min(tokens, budget.batch, state.available(budget, now, urgent))
            need = min(need, budget.least)
            entitled = entitled and state.urgent_tokens(budget, now) > 0
        if entitled:
            # beyond its share, single tokens would leave the others no batch
            need = 1
        if tokens < need:
            return self._refused(counted, now, wanted, need, urgent)
        for state, budget, _ in counted:
            state.charge(budget, now, tokens, urgent)
        return Grant(tokens, at=now)

    def _refused(
        self, counted: Sequence[tuple[_State, Budget, str]], now: int, wanted: int, need: int, urgent: bool
    ) -> Grant:
        """Room is kept at the limit with the longest wait only, or a slow destination would take from all others."""
        ready, blocking = -math.inf, counted[0]
        for one in counted:
            at = one[0].ready_at(one[1], now, need, urgent)
            if at > ready:
                ready, blocking = at, one
        if urgent:
            blocking[0].reserve(blocking[1], now, wanted, ready)
        return Grant(0, max(_LEAST_WAIT, math.ceil(ready - now)) / 1e6, blocking[2], now)

    def take_each(self, requests: Sequence[tuple[Sequence[Limit], int]]) -> list[Grant]:
        return [self.take(limits, wanted) for limits, wanted in requests]

    def give_back(self, limits: Sequence[Limit], grant: Grant, unused: int) -> None:
        with self._lock:
            for limit in limits:
                if limit.count != math.inf and limit.name in self._states:
                    self._states[limit.name].refund(Budget.of(limit, self._share), grant.at, unused)

    def pause(self, name: str, seconds: float, why: str) -> None:
        with self._lock:
            state = self._states.setdefault(name, _State())
            until = self._now() + seconds * 1e6
            if until > state.closed_until:
                state.closed_until, state.why = until, why

    def state(self, names: Sequence[str]) -> tuple[LimitState, ...]:
        with self._lock:
            now = self._now()
            return tuple(self._describe(name, now) for name in names)

    def _describe(self, name: str, now: int) -> LimitState:
        state = self._states.get(name, _State())
        used = sum(entry.tokens for entry in state.log if entry.last + state.window > now)
        left = max(0.0, state.closed_until - now) / 1e6
        return LimitState(name, used, left, state.why if left else "")

    def _now(self) -> int:
        return int(self._clock.ticks() * 1e6)
