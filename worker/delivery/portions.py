"""What the next claim of a campaign holds: a portion for the destination whose turn it is, and for others with it.

A claim costs about as much as twenty rows in it. A destination of ten mails a second is granted one at a time, and
would otherwise make ten claims a second of one row each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from worker.delivery.press import Press
from worker.delivery.spending import Spending
from worker.delivery.throttling import Grant, Limit
from worker.domain.clock import Clock

# Where connections are busy: how long until it is looked again, at the latest.
BUSY_SECONDS = 0.02
# With fewer rows than this in a claim, others have a portion in it …
_ENOUGH = 60
# … but not for a row or two: each is another look into the ledger.
_LEAST_COMPANY = 4

Waited = Callable[[str, float], None]
"""Told of each wait for a rate limit: its name, seconds."""

_NOTHING = Grant(0)


@dataclass(slots=True, eq=False)
class BulkLane:
    """One destination of the campaign; `open_at` is the tick from which it may be tried."""

    destination: str
    limits: tuple[Limit, ...]
    open_at: float = 0.0
    brings: float = math.inf
    """What its limits granted the last time; infinite where that was all that was wanted."""


@dataclass(slots=True, eq=False)
class Portion:
    """What a lane has in a claim: messages its breakers admitted, tokens of its limits, and rows handed over."""

    lane: BulkLane
    admitted: int
    grant: Grant = _NOTHING
    handed: int = 0

    @property
    def name(self) -> str:
        return self.lane.destination


class Portions:
    """Makes them up, for the thread that claims. `waited` is told of each wait for a rate limit."""

    def __init__(self, clock: Clock, press: Press, spending: Spending, waited: Waited) -> None:
        self._clock = clock
        self._press = press
        self._spending = spending
        self._waited = waited

    def gather(self, lanes: list[BulkLane], portions: list[Portion]) -> float:
        """The portions of the next claim; where there are none, seconds to wait."""
        now = self._clock.ticks()
        enough = 1 if self._press.doubtful else _ENOUGH
        asking: list[tuple[BulkLane, int]] = []
        full: list[BulkLane] = []
        skipped: list[BulkLane] = []
        expected = 0.0
        # those that are open in turn: one that is always open must not hide one that is open now and then
        for lane in [one for one in lanes if one.open_at <= now]:
            if expected >= enough:
                skipped.append(lane)
                continue
            room = self._press.room(lane.destination)
            if room > 0:
                asking.append((lane, room))
                expected += min(room, lane.brings)
            else:
                lane.open_at = now + self._press.shut(lane.destination)
                full.append(lane)
        self._ask(asking, portions)
        if 0 < _tokens(portions) < enough:
            self._ask(self._company(full + skipped), portions)
        if not portions and skipped:
            return 0.0
        ticks = self._clock.ticks()
        return min(max(0.0, one.open_at - ticks) if one.open_at > now else BUSY_SECONDS for one in lanes)

    def _company(self, lanes: Sequence[BulkLane]) -> list[tuple[BulkLane, int]]:
        """Those with the most room, until it is enough. Each is another look into the ledger: not for a row or two."""
        company: list[tuple[BulkLane, int]] = []
        rooms = [(lane, self._press.room(lane.destination, joins=True)) for lane in lanes]
        for lane, room in sorted(rooms, key=lambda one: -one[1]):
            if room < _LEAST_COMPANY or sum(each for _, each in company) >= _ENOUGH:
                break
            company.append((lane, room))
        return company

    def _ask(self, lanes: Sequence[tuple[BulkLane, int]], portions: list[Portion]) -> None:
        """The breakers' word, then tokens, in one question for all; where there are none, when to try again."""
        left = self._press.most - _tokens(portions)
        asked = []
        for lane, room in lanes:
            # what a limit will not grant is left for the others
            wanted = int(min(room, left, 2 * lane.brings))
            if wanted > 0:
                admission = self._press.admit(lane.destination, wanted)
                left -= admission.messages
                if admission.messages:
                    asked.append(Portion(lane, admission.messages))
                    # from here on whoever claims answers for what was admitted and granted
                    portions.append(asked[-1])
                else:
                    lane.open_at = self._clock.ticks() + max(admission.wait, BUSY_SECONDS)
        grants = self._spending.take_each([(one.lane.limits, one.admitted) for one in asked])
        for one, grant in zip(asked, grants, strict=True):
            one.grant = grant
            if grant.tokens > 0:
                one.lane.brings = grant.tokens if grant.tokens < one.admitted else math.inf
            else:
                one.lane.open_at = self._clock.ticks() + grant.wait
                self._waited(grant.blocked_by, grant.wait)
                self._press.unused(one.name, one.admitted)
                portions.remove(one)


def _tokens(portions: Sequence[Portion]) -> int:
    return sum(one.grant.tokens for one in portions)
