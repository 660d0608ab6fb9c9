"""One campaign's turn on one process: about three seconds of tokens, claims and mails.

Tokens come first, for at most 20 ms of work; then as many rows are claimed. A destination without tokens is
passed over until it has some, so that a throttled one never slows the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from worker.delivery import queries
from worker.delivery.backlog import Turns
from worker.delivery.limits import Limits
from worker.delivery.press import Press
from worker.delivery.spending import Spending
from worker.delivery.throttling import Grant, Limit
from worker.domain.campaign import GOING, CampaignStatus
from worker.domain.clock import Clock
from worker.storage.database import Database

# A turn; then it is the next campaign's.
TURN_SECONDS = 3.0
# Waits up to this are awaited; a longer one ends the turn, and the sweep rings again.
LONGEST_WAIT_SECONDS = 1.0
# How long the end of a turn waits for its conversations; slower ones finish by themselves.
DRAIN_SECONDS = 0.5
# Where connections are busy: how long until it is looked again, at the latest.
BUSY_SECONDS = 0.02
# A claim costs about as much as twenty rows in it. With fewer than this, other lanes have a portion in it: a
# destination of ten mails a second would otherwise make ten claims a second, of one row each.
_ENOUGH = 60
# While a campaign is being planned, new rows are looked for this often.
PLANNING_POLL_SECONDS = 0.05

Waited = Callable[[str, float], None]
"""Told of each wait for a rate limit: its name, seconds."""


_NOTHING = Grant(0)


@dataclass(slots=True, eq=False)
class _Lane:
    """One destination of the campaign; `open_at` is the tick from which it may be tried."""

    destination: str
    limits: tuple[Limit, ...]
    open_at: float = 0.0
    brings: float = math.inf
    """Tokens of its last grant."""


@dataclass(slots=True, eq=False)
class _Portion:
    """What a lane has in a claim: messages its breakers admitted, tokens of its limits, and rows handed over."""

    lane: _Lane
    admitted: int
    grant: Grant = _NOTHING
    handed: int = 0


@dataclass(frozen=True, slots=True)
class Turned:
    """What came of a turn: mails handed over, and how long there is no use in another (seconds).

    `held_until`: the sender's domain is warming up, and nothing more of the campaign goes before its next day.
    """

    handed_over: int
    rest: float
    held_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Step:
    """What a step handed over, and seconds to wait before the next."""

    handed: int
    wait: float = 0.0
    held_until: datetime | None = None


class Bulk:
    """`destinations`: the groups of `shaping.toml`; mail for all other domains goes by the empty name.

    `requeue` puts back in the queue what is due: between two sweeps, for a hop whose turns are closer together.
    """

    def __init__(
        self, database: Database, clock: Clock, press: Press, spending: Spending, limits: Limits,
        destinations: tuple[str, ...], waited: Waited, requeue: Callable[[], int],
    ) -> None:  # fmt: skip
        self._database = database
        self._clock = clock
        self._press = press
        self._spending = spending
        self._limits = limits
        self._destinations = ("", *destinations)
        self._waited = waited
        self._requeue = requeue

    @property
    def coming(self) -> Turns:
        """Of rows that were deferred for a turn, when they come."""
        return self._press.turns

    def turn(self, campaign_id: int) -> Turned:
        """Send for this campaign until its turn is over or nothing of it may go now."""
        until = self._clock.ticks() + TURN_SECONDS
        handed_over, more = 0, True
        step = _Step(0)
        lanes: list[_Lane] = []
        while self._clock.ticks() < until:
            if self._press.turns.due() and self._requeue():
                self._add_new(lanes, campaign_id)
            if not lanes:
                lanes, planning = self._probe(campaign_id)
                if not lanes and not planning:
                    more = False
                    break
            step = self._step(campaign_id, lanes) if lanes else _Step(0, PLANNING_POLL_SECONDS)
            handed_over += step.handed
            if step.wait > LONGEST_WAIT_SECONDS or step.held_until is not None:
                more = False
                break
            if step.wait > 0:
                self._press.wait(step.wait)
        # Where there is more to send, the next turn begins behind the conversations of this one.
        if not more or self._press.must_drain:
            self.drain()
        return Turned(handed_over, step.wait if step.wait > LONGEST_WAIT_SECONDS else 0.0, step.held_until)

    def drain(self) -> None:
        """Wait for the outcomes of what is under way, `DRAIN_SECONDS` at most."""
        self._press.drain(DRAIN_SECONDS)

    def _probe(self, campaign_id: int) -> tuple[list[_Lane], bool]:
        """The lanes with queued rows, none where the campaign is not going; and whether more are being planned."""
        with self._database.read() as connection:
            row = queries.campaign_head(connection, campaign_id)
            if row is None or row.status not in GOING:
                return [], False
            found = queries.queued_destinations(connection, campaign_id, self._destinations)
        if found and not self._press.prepare(row.publication, campaign_id):
            return [], False
        lanes = [_Lane(name, self._limits.of(row.publication, name)) for name in found]
        return lanes, row.status == CampaignStatus.PLANNING

    def _add_new(self, lanes: list[_Lane], campaign_id: int) -> None:
        """Destinations that have queued rows again; the others keep their place, and their time."""
        known = {lane.destination for lane in lanes}
        lanes += [lane for lane in self._probe(campaign_id)[0] if lane.destination not in known]

    def _step(self, campaign_id: int, lanes: list[_Lane]) -> _Step:
        """One claim: for the lane whose turn it is, and where that brings few rows, for the next ones with it."""
        portions: list[_Portion] = []
        try:
            wait = self._gather(lanes, portions)
            if not portions:
                return _Step(0, wait)
            # the other lanes come first next time
            for one in portions:
                lanes.remove(one.lane)
            step, without = self._claim(campaign_id, portions)
            lanes += [one.lane for one in portions if one.lane.destination not in without]
            return step
        finally:
            for one in portions:
                self._press.unused(one.lane.destination, one.admitted - one.handed)

    def _gather(self, lanes: list[_Lane], portions: list[_Portion]) -> float:
        """The portions of the next claim; where there are none, seconds to wait."""
        now = self._clock.ticks()
        enough = 1 if self._press.doubtful else _ENOUGH
        asking: list[tuple[_Lane, int]] = []
        full: list[_Lane] = []
        expected = 0.0
        # those that are open in turn: one that is always open must not hide one that is open now and then
        for lane in sorted(lanes, key=lambda one: max(one.open_at, now)):
            if lane.open_at > now or expected >= enough:
                break
            room = self._press.room(lane.destination)
            if room > 0:
                asking.append((lane, room))
                expected += min(room, lane.brings)
            else:
                lane.open_at = now + self._press.shut(lane.destination)
                full.append(lane)
        self._ask(asking, portions)
        if 0 < _tokens(portions) < enough:
            self._ask([(lane, self._press.room(lane.destination, joins=True)) for lane in full], portions)
        if not portions and expected >= enough:
            # those that were asked have to wait; the others were not looked at
            return 0.0
        return min(lane.open_at - now if lane.open_at > now else BUSY_SECONDS for lane in lanes)

    def _ask(self, lanes: Sequence[tuple[_Lane, int]], portions: list[_Portion]) -> None:
        """The breakers' word, then tokens, in one question for all; where there are none, when to try again."""
        left = self._press.most - _tokens(portions)
        asked = []
        for lane, room in lanes:
            if min(room, left) > 0:
                admission = self._press.admit(lane.destination, min(room, left))
                left -= admission.messages
                if admission.messages:
                    asked.append(_Portion(lane, admission.messages))
                    # from here on whoever claims answers for what was admitted
                    portions.append(asked[-1])
                else:
                    lane.open_at = self._clock.ticks() + max(admission.wait, BUSY_SECONDS)
        grants = self._spending.take_each([(one.lane.limits, one.admitted) for one in asked])
        for one, grant in zip(asked, grants, strict=True):
            one.grant = grant
            if grant.tokens:
                one.lane.brings = grant.tokens
            else:
                one.lane.open_at = self._clock.ticks() + grant.wait
                self._waited(grant.blocked_by, grant.wait)
                self._press.unused(one.lane.destination, one.admitted)
                portions.remove(one)

    def _claim(self, campaign_id: int, portions: Sequence[_Portion]) -> tuple[_Step, Collection[str]]:
        """Rows for the tokens; and the destinations that have nothing queued any more."""
        wanted = {one.lane.destination: one.grant.tokens for one in portions}
        claim = self._press.claimer.campaign(campaign_id, wanted)
        # sent first: a limiter that fails just then must not leave what is claimed lying until its lease ends
        if claim is not None:
            self._press.send(claim)
            for one in portions:
                one.handed = claim.taken(one.lane.destination)
        for one in portions:
            self._spending.claimed(one.lane.limits, one.grant, claim, one.lane.destination)
        if claim is None:
            return _Step(0), wanted.keys()
        return _Step(len(claim.claimed), held_until=claim.held_until), claim.without


def _tokens(portions: Sequence[_Portion]) -> int:
    return sum(one.grant.tokens for one in portions)
