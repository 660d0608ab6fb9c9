"""What is known of hops that have no work just now: small domains come again, with a mail or two each time."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from worker.delivery.jobs import Jobs
from worker.delivery.lane import Lane
from worker.delivery.transports.base import NextHop
from worker.domain.clock import Clock

# It may be another pace by then.
_SECONDS = 900.0
_KEPT = 20_000


@dataclass(frozen=True, slots=True)
class _Seen:
    at: float
    lanes: dict[str, Lane]


class Paces:
    """Of one process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: OrderedDict[NextHop, _Seen] = OrderedDict()

    def remember(self, hop: NextHop, jobs: Jobs) -> None:
        """It has no work any more."""
        lanes = {name: Lane.as_before(lane) for name, lane in jobs.lanes.items() if lane.took}
        if lanes:
            self._seen[hop] = _Seen(self._clock.ticks(), lanes)
            if len(self._seen) > _KEPT:
                self._seen.popitem(last=False)

    def recall(self, hop: NextHop, jobs: Jobs) -> None:
        """It has work again."""
        seen = self._seen.pop(hop, None)
        if seen is not None and self._clock.ticks() < seen.at + _SECONDS:
            for name, lane in seen.lanes.items():
                jobs.add(name, lane)
