"""What the suite itself knows of a run: what was accepted, who left when, which processes were killed and stopped.

Times are `time.time()` of the suite, which no fault moves.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Killed:
    """A process that ended without a chance to finish, and the ports of its connections at that moment.

    `gone_at`: when those that die with it were seen gone; until then they may have opened others. 0: they were not left
    any time.
    """

    at: float
    what: str
    ports: frozenset[int]
    gone_at: float = 0.0


@dataclass(frozen=True)
class Open:
    """In processes that stand still: ports of connections, and deliveries whose body their journals say was begun."""

    ports: frozenset[int]
    bodies: frozenset[int]


@dataclass
class Stopped:
    """A process that stood still; `until` is infinite while it does. What was open in it, as in `Open`."""

    since: float
    until: float
    what: str
    ports: frozenset[int]
    bodies: frozenset[int] = frozenset()


@dataclass
class Halted:
    """A campaign, or one reader's part of it, of which no conversation may start from `since` + 2 s to `until`."""

    since: float
    until: float
    what: str
    post: str
    address: str = ""


@dataclass
class History:
    """Appended to by the faults and by the day; read by the auditor when all is over."""

    events: dict[str, str] = field(default_factory=dict)
    """Event ids that were answered with 2xx, and their type."""
    posts: set[str] = field(default_factory=set)
    """Posts whose event was answered with 2xx."""
    signed_up: set[str] = field(default_factory=set)
    confirmed: set[str] = field(default_factory=set)
    """Addresses whose confirmation was answered with 2xx."""
    refused: set[str] = field(default_factory=set)
    """Event ids that were answered with 4xx: they must have changed nothing."""
    killed: list[Killed] = field(default_factory=list)
    stopped: list[Stopped] = field(default_factory=list)
    halted: list[Halted] = field(default_factory=list)
    released: dict[int, float] = field(default_factory=dict)
    """Deliveries that were held as unknown and released by hand, and when."""
    journals_lost_at: list[float] = field(default_factory=list)
    unrecorded: int = 0
    """Conversations that stood in the journals and not in the ledger when the journals were lost."""
    set_forward: list[Stopped] = field(default_factory=list)
    """When the clocks were set past the end of every lease: a moment, and what was open then."""
    unwritable: list[Stopped] = field(default_factory=list)
    """Processes that could write neither their journal nor the ledger."""
    lines: list[str] = field(default_factory=list)
    """What was done, for people."""
    began: float = field(default_factory=time.time)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @staticmethod
    def now() -> float:
        return time.time()

    def say(self, line: str) -> None:
        with self._lock:
            self.lines.append(f"{time.time() - self.began:6.2f}  {line}")

    @contextmanager
    def standing_still(self, what: str, seen: Open) -> Iterator[None]:
        with _lasting(self.stopped, what, seen):
            yield

    @contextmanager
    def writing_nothing(self, what: str, seen: Open) -> Iterator[None]:
        with _lasting(self.unwritable, what, seen):
            yield


@contextmanager
def _lasting(into: list[Stopped], what: str, seen: Open) -> Iterator[None]:
    one = Stopped(time.time(), float("inf"), what, seen.ports, seen.bodies)
    into.append(one)
    try:
        yield
    finally:
        one.until = time.time()
