"""When to try again. A policy returns a decision; it sends nothing and sleeps nowhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class RetryAt:
    """Try again then."""

    at: datetime


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The time is over."""


Decision = RetryAt | GiveUp


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with full jitter: attempt n waits between 0 and `base · 2^(n-1)`, `cap` at most.

    `lifetime` counts from the first attempt, so that a pause expires nothing (RFC 5321 §4.5.4.1 asks for
    4 to 5 days at most). A mail with a hard end of its own (a confirmation whose token expires) passes
    that as `expires_at`.
    """

    base: timedelta = timedelta(minutes=1)
    cap: timedelta = timedelta(hours=4)
    lifetime: timedelta = timedelta(hours=72)

    def end(self, first_attempt_at: datetime, expires_at: datetime | None) -> datetime:
        """When its time is over: what is not through by then expires."""
        end = first_attempt_at + self.lifetime
        return end if expires_at is None else min(end, expires_at)

    def decide(
        self,
        *,
        attempts: int,
        first_attempt_at: datetime,
        now: datetime,
        expires_at: datetime | None,
        uniform: Callable[[float, float], float],
    ) -> Decision:
        """`attempts` counts the one that just failed (1 or more); `uniform` is `random.uniform` or a fake.

        Full jitter could draw 0, which would knock again at once: a tenth of the step is the least.
        """
        end = self.end(first_attempt_at, expires_at)
        # 2^40 minutes is past any cap; the bound only keeps the float from overflowing
        step = min(self.cap, self.base * 2 ** min(attempts - 1, 40))
        at = now + uniform(0.1, 1.0) * step
        return RetryAt(at) if at < end else GiveUp()
