"""One campaign's turn on one process: about three seconds of tokens, claims and mails.

Tokens come first, for at most 20 ms of work; then as many rows are claimed. A destination without tokens is
passed over until it has some, so that a throttled one never slows the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime

from worker.delivery import queries
from worker.delivery.backlog import Turns
from worker.delivery.claim import Claim
from worker.delivery.limits import Limits
from worker.delivery.portions import BulkLane, Portion, Portions, Waited
from worker.delivery.press import Press
from worker.delivery.spending import Spending
from worker.domain.campaign import GOING, CampaignStatus
from worker.domain.clock import Clock
from worker.storage.database import Database

# A turn; then it is the next campaign's.
TURN_SECONDS = 3.0
# Waits up to this are awaited; a longer one ends the turn, and the sweep rings again.
LONGEST_WAIT_SECONDS = 1.0
# How long the end of a turn waits for its conversations; slower ones finish by themselves.
DRAIN_SECONDS = 0.5
# While a campaign is being planned, new rows are looked for this often.
PLANNING_POLL_SECONDS = 0.05


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
        self._portions = Portions(clock, press, spending, waited)
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
        lanes: list[BulkLane] = []
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

    def _probe(self, campaign_id: int) -> tuple[list[BulkLane], bool]:
        """The lanes with queued rows, none where the campaign is not going; and whether more are being planned."""
        with self._database.read() as connection:
            row = queries.campaign_head(connection, campaign_id)
            if row is None or row.status not in GOING:
                return [], False
            found = queries.queued_destinations(connection, campaign_id, self._destinations)
        if found and not self._press.prepare(row.publication, campaign_id):
            return [], False
        lanes = [BulkLane(name, self._limits.of(row.publication, name)) for name in found]
        return lanes, row.status == CampaignStatus.PLANNING

    def _add_new(self, lanes: list[BulkLane], campaign_id: int) -> None:
        """Destinations that have queued rows again; the others keep their place, and their time."""
        known = {lane.destination for lane in lanes}
        lanes += [lane for lane in self._probe(campaign_id)[0] if lane.destination not in known]

    def _step(self, campaign_id: int, lanes: list[BulkLane]) -> _Step:
        """One claim: for the lane whose turn it is, and where that brings few rows, for the next ones with it."""
        portions: list[Portion] = []
        claim: Claim | None = None
        with ExitStack() as stack:
            # after sending: a limiter that fails just then must not leave what is claimed lying until its lease ends
            stack.callback(lambda: self._settle(portions, claim))
            wait = self._portions.gather(lanes, portions)
            if not portions:
                return _Step(0, wait)
            claim = self._press.claimer.campaign(campaign_id, {one.name: one.grant.tokens for one in portions})
            if claim is not None:
                self._press.send(claim)
                for one in portions:
                    one.handed = claim.taken(one.name)
        took_part = [one.lane for one in portions]
        others = [lane for lane in lanes if lane not in took_part]
        if claim is None:
            lanes[:] = others
            return _Step(0)
        # those that a suspect went before come first next time, and those that had their turn last
        first = [lane for lane in took_part if lane.destination in claim.passed_over]
        last = [lane for lane in took_part if lane.destination not in claim.without | claim.passed_over]
        lanes[:] = first + others + last
        return _Step(len(claim.claimed), held_until=claim.held_until)

    def _settle(self, portions: Sequence[Portion], claim: Claim | None) -> None:
        """Each, whatever becomes of the others: what was admitted and not handed over, granted and not claimed."""
        with ExitStack() as stack:
            for one in portions:
                stack.callback(self._press.unused, one.name, one.admitted - one.handed)
                stack.callback(self._spending.claimed, one.lane.limits, one.grant, claim, one.name)
