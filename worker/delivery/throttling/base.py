"""What a rate limit is, what a limiter grants, and the numbers that both kinds of limiter work with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from worker.domain.errors import TemporaryError


class LimiterUnavailable(TemporaryError):
    """The rate limits cannot be asked now, so nothing may be sent."""


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `count` mails in any half-open window of `per_seconds`. An infinite `count` is only there to be closed.

    Only whole mails can be counted: 2.5 in a second are 2 (write 5 in 2 seconds for the rest); 0.5 in a second
    are 1 in 2 seconds. Raises `ValueError` for numbers that limit nothing or everything.
    """

    name: str
    """`overall`, `publication:daily`, `transport:smtp`, `destination:google`; unique within one call."""
    count: float
    per_seconds: float

    def __post_init__(self) -> None:
        if not (self.count > 0 and 0 < self.per_seconds < math.inf):
            raise ValueError(f"{self.name}: {self.count} in {self.per_seconds} s; allowed: numbers above 0")


@dataclass(frozen=True, slots=True)
class Grant:
    """What was granted. Without tokens: seconds until some may be there, and the limit that has none."""

    tokens: int
    wait: float = 0.0
    blocked_by: str = ""
    at: int = 0
    """When, in microseconds of the limiter's clock; it tells `give_back` which tokens come back."""


@dataclass(frozen=True, slots=True)
class LimitState:
    """One limit now: mails granted in the running window; seconds it stays closed (0: open) and why."""

    name: str
    used: int
    closed_for: float = 0.0
    why: str = ""


class Limiter(Protocol):
    """Tokens that hold across everybody who asks the same limiter. All raise `LimiterUnavailable`."""

    def take(self, limits: Sequence[Limit], wanted: int, *, urgent: bool = False) -> Grant:
        """The same number of tokens from all limits at once, or from none; about 20 ms of the tightest one's work.

        `urgent` mail comes first, up to its share of each limit: what it takes in advance, the others wait for.
        """

    def take_each(self, requests: Sequence[tuple[Sequence[Limit], int]]) -> list[Grant]:
        """`take` for each of them, in one question: (limits, wanted)."""

    def give_back(self, limits: Sequence[Limit], grant: Grant, unused: int) -> None:
        """Return tokens of a grant by these limits that were not used."""

    def pause(self, name: str, seconds: float, why: str) -> None:
        """Close a limit for everybody; the longer of two pauses holds."""

    def state(self, names: Sequence[str]) -> tuple[LimitState, ...]:
        """How these limits stand, in the order asked for."""


# Aim a little below the limit: the rest is head room for urgent mail, and lets holes that stalls have torn close.
UTILISATION = 0.98
# A grant is this much work at most, so that a limit's tokens are spread over all processes and over the window.
BATCH_SECONDS = 0.02
# … and this part of it at least (or all that is wanted): each grant is followed by a claim, which is dear.
LEAST_BATCH = 0.7
# Claimants that all stalled (a long write lock) may make up for this much lost time …
MAKE_UP_SECONDS = 0.15
# … but no faster than this: a receiver that sees grants with some tens of ms of jitter must not see a burst.
MAKE_UP_PACE = 1.5
# Urgent mail may save up its share for this long, so that a few at once need not wait for each other.
URGENT_BURST_SECONDS = 30.0
# How long room is kept for urgent mail that was told to wait, after its wait: until the sweep has rung again.
HOLD_SECONDS = 6.0

_MICROSECOND = 1e-6


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit in the whole numbers and microseconds that a limiter counts with."""

    count: int
    window: int
    interval: float
    """Between two tokens in the long run."""
    fast_interval: float
    """Between two tokens while making up for a stall."""
    batch: int
    least: int
    """Fewer tokens are not worth a grant, unless no more are wanted."""
    long_reach: float
    """How far back tokens not taken may still be claimed, in the long run …"""
    fast_reach: float
    """… and at the faster pace: a batch, and some for asking late."""
    urgent_count: int
    urgent_interval: float

    @classmethod
    def of(cls, limit: Limit, urgent_share: float) -> Budget:
        per_seconds = limit.per_seconds if limit.count >= 1 else limit.per_seconds / limit.count
        count = max(1, math.floor(limit.count))
        window = math.ceil(per_seconds / _MICROSECOND)
        interval = window / (count * UTILISATION)
        batch = max(1, min(count, int(BATCH_SECONDS / _MICROSECOND / interval)))
        return cls(
            count=count,
            window=window,
            interval=interval,
            fast_interval=interval / MAKE_UP_PACE,
            batch=batch,
            least=math.ceil(LEAST_BATCH * batch),
            long_reach=interval + MAKE_UP_SECONDS / _MICROSECOND,
            fast_reach=1.5 * batch * interval / MAKE_UP_PACE,
            urgent_count=max(1, int(count * urgent_share * max(1.0, URGENT_BURST_SECONDS / per_seconds))),
            urgent_interval=interval / urgent_share,
        )
