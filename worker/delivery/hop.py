"""The next hop as one process sees it: how many connections it takes, and whether to knock at all.

Limits on connections and refusals at the door belong to the hop, not to the rows that wait for it: while it
is closed nothing is claimed, and rows keep their status.
"""

from __future__ import annotations

from collections.abc import Awaitable

import structlog

from worker.delivery.transports.base import Connection
from worker.domain.clock import Clock

log = structlog.get_logger(__name__)

_SEE = "PRESSRUN_SMTP_URL, `pressrun check`"

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0

# A dead one that nobody has knocked at for so long need not be remembered: its mail looks again more often.
FORGOTTEN_SECONDS = 7200.0

# A server that refuses one more connection while others are open has as many as it wants for now. Those that
# end (each has a message limit) may be replaced.
FULL_SECONDS = 30.0

# Connections of other processes end after some messages: asked for again after this.
TAKEN_SECONDS = 1.0


class Hop:
    """Opens connections one at a time after a failure, with a doubling pause between."""

    def __init__(self, clock: Clock, name: str = "relay") -> None:
        self._clock = clock
        self._name = name
        self.connections = 0
        self._failures = 0
        self._opening = 0
        self._closed_until = 0.0
        self._full_until = 0.0
        self._most = 0
        self._taken_until = 0.0
        self._taken_since = 0.0
        self.why = ""

    def wait(self) -> float:
        """Seconds until a connection may be opened; 0 while there is one, or may be one."""
        if self.connections:
            return 0.0
        return max(0.0, max(self._closed_until, self._taken_until) - self._clock.ticks())

    @property
    def taken(self) -> bool:
        """Other processes have all its connections; it is no fault of its own, and no reason to wait long."""
        return not self.connections and self._taken_until > self._clock.ticks()

    @property
    def doubtful(self) -> bool:
        """It refused, and has taken nothing since: offer it one row over one connection, not a hundred."""
        return self._failures > 0

    @property
    def forgettable(self) -> bool:
        """Nothing need be remembered of it: it is well, or nobody has knocked for long."""
        long_ago = self._clock.ticks() >= self._closed_until + FORGOTTEN_SECONDS
        return self.wait() <= 0 and (not self.doubtful or long_ago)

    def may_open(self) -> bool:
        now = self._clock.ticks()
        if now < self._closed_until or now < self._taken_until:
            return False
        if now < self._full_until and self.connections + self._opening >= self._most:
            return False
        return not (self.doubtful and (self._opening or self.connections))

    async def open(self, opening: Awaitable[Connection | None]) -> Connection | None:
        """Await it; None where it came to nothing. Raises `HopUnavailable`, of which `refused` must be told."""
        self._opening += 1
        try:
            connection = await opening
        finally:
            self._opening -= 1
        if connection is not None:
            self.connections += 1
            self._most = max(self._most, self.connections)
        return connection

    @property
    def taken_just_now(self) -> bool:
        """… and was not asked for again and again yet: others give theirs up now and then, so mail may wait for one."""
        return self.taken and self._taken_until <= self._taken_since + 2 * TAKEN_SECONDS

    def all_taken(self) -> None:
        """Other processes have as many connections as it may have from all of us together."""
        now = self._clock.ticks()
        if now > self._taken_until + TAKEN_SECONDS:
            self._taken_since = now
        self._taken_until = now + TAKEN_SECONDS
        self.why = "other workers have all the connections it takes"

    def listened(self) -> None:
        """It answered to a message, whatever it said: it is there."""
        if self._failures:
            self._failures = 0
            self.why = ""

    def closed(self) -> None:
        self.connections -= 1

    def refused(self, why: str) -> None:
        """It would not take a connection, or, on a new one, no message at all."""
        now = self._clock.ticks()
        self.why = why
        if self.connections:
            self._full_until = now + FULL_SECONDS
            self._most = self.connections
        elif now >= self._closed_until:
            # Several connections refused in the same moment are one failure.
            self._failures += 1
            pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(self._failures - 1, 10))
            self._closed_until = now + pause
            log.warning("next_hop_refuses", hop=self._name, why=why, again_in_s=pause, see=_SEE)
