"""A claimed delivery that is to be sent, and the lane in which it waits for a connection."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

from worker.delivery.parcels import Claimed, Lease
from worker.domain.clock import Clock
from worker.domain.message import Envelope, Message

# A conversation that takes longer is slow: its lane gets few connections until others of it were quick.
SLOW_SECONDS = 1.0
# Of a quick one, what the last eight took is what the next will take.
_SMOOTH = 8


class Mail(Protocol):
    """What turns a claimed delivery into bytes."""

    def compose(self, claimed: Claimed) -> tuple[Envelope, Message]:
        """Raises `PressrunError` for a mail that cannot be made."""


@dataclass(slots=True, eq=False)
class Lane:
    """What waits for one destination. `busy` connections converse for it, `bound` at most.

    It begins with the `least` and has one more for each quick conversation, up to the `most`; a slow one takes
    it back to the least. So what is silent or takes seconds a message never holds all connections.
    """

    least: float
    most: float
    waiting: deque[Job] = field(default_factory=deque)
    busy: int = 0
    bound: float = 0.0
    slow: bool = False
    took: float = 0.0
    """Seconds of a conversation, the last ones first; 0 before the first."""
    ended: int = 0
    _seen: tuple[int, float] = (-1, 0.0)

    def __post_init__(self) -> None:
        self.bound = self.least

    @classmethod
    def as_before(cls, before: Lane) -> Lane:
        """Empty, and what is known of its pace."""
        lane = cls(before.least, before.most, slow=before.slow, took=before.took)
        lane.bound = before.bound
        return lane

    @property
    def stuck(self) -> bool:
        """All its connections are held by conversations that take long, or of which nothing is known yet."""
        return self.least < self.most and (self.slow or (self.busy >= self.bound and self.bound == self.least))

    @property
    def free(self) -> int:
        """How many of those that wait may go at once."""
        return int(max(0.0, min(len(self.waiting), self.bound - self.busy)))

    def look(self, now: float) -> None:
        """Where none has come to an end for a second though some are under way, it is slow before one does."""
        ended, since = self._seen
        if not self.busy or self.ended != ended or self.least >= self.most:
            self._seen = (self.ended, now)
        elif now - since >= SLOW_SECONDS:
            self.bound, self.slow, self.took = self.least, True, max(self.took, now - since)

    @property
    def each(self) -> float:
        """Seconds until its next message goes, where all its connections are busy."""
        return self.took / max(1.0, self.busy if self.waiting else self.bound)

    def took_up(self, seconds: float) -> None:
        """One of its conversations came to an end."""
        self.ended += 1
        if seconds >= SLOW_SECONDS:
            self.bound, self.slow, self.took = self.least, True, seconds
            return
        self.took = seconds if self.slow or not self.took else self.took + (seconds - self.took) / _SMOOTH
        if self.slow or self.bound < self.most:
            self.bound, self.slow = min(self.most, self.bound + 1), False


@dataclass(slots=True, eq=False)
class Job:
    """A claimed delivery, its claim, and what makes its mail."""

    claimed: Claimed
    lease: Lease
    mail: Mail

    def too_late(self, clock: Clock) -> bool:
        """Whether its conversation may not start any more: its checks are too old, or its lease is over."""
        return clock.ticks() > self.lease.start_by or self.lease_over(clock)

    def lease_over(self, clock: Clock) -> bool:
        """By either clock: ticks see a process that was stopped, the wall clock what a sweep goes by."""
        return clock.ticks() > self.lease.valid_until or clock.now() >= self.lease.expires_at
