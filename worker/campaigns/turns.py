"""Fair turns, and the chains that take them.

A chain is a bulk task that rings its successor: (slot, number, campaign). Only the first task to arrive with
a newer number than the slot has begun runs; so a chain may be rung as often as anybody likes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy import Connection

from worker.campaigns import queries, turn_queries
from worker.domain.campaign import LONGEST_REST, resting_beyond
from worker.domain.clock import Clock
from worker.domain.doorbell import Doorbell
from worker.storage import ledger
from worker.storage.database import Database

log = structlog.get_logger(__name__)

# A turn is 3 s and begins by touching its slot; whoever is silent for this long has lost its task or its life.
STALE = timedelta(seconds=10)

# Touched "never": the chain has ended, or was not rung yet, and may be rung at once.
_IDLE = datetime(1970, 1, 1, tzinfo=UTC)

_TURNS = "turns"


@dataclass(frozen=True, slots=True)
class Turn:
    """What to ring after the commit: `doorbell.bulk(slot, number, campaign_id)`."""

    slot: int
    number: int
    campaign_id: int


def begin(connection: Connection, slot: int, number: int, now: datetime) -> bool:
    """Whether this task is the one that runs. A double, or a task that a newer one has overtaken, is not."""
    return turn_queries.start_slot(connection, slot, number, now)


def touch(connection: Connection, slot: int, number: int, now: datetime) -> bool:
    """Say that the chain lives. False: another has taken it over."""
    return turn_queries.touch_slot(connection, slot, number, now)


def next_turn(
    connection: Connection, turn: Turn, now: datetime, rest: timedelta = timedelta(0),
    held_until: datetime | None = None,
) -> Turn | None:  # fmt: skip
    """End `turn`: the one to ring next, or None where the chain ends for now. A `wake` starts it again.

    `rest`: how long there is no use in another turn for the turn's campaign. `held_until`: none of it may go before.
    """
    # Locked first: who wakes the chains waits for this, and then sees whether it has ended.
    state = turn_queries.lock_slot(connection, turn.slot)
    if state is None or state.started != turn.number:
        return None
    chains = ledger.chains(connection)
    # before the campaign is touched, as everywhere: or two would wait for each other crosswise
    queries.serialise(connection, _TURNS)
    if held_until is not None:
        turn_queries.rest(connection, [turn.campaign_id], held_until)
    elif rest > timedelta(0):
        turn_queries.rest(connection, [turn.campaign_id], now + min(rest, LONGEST_REST))
    # one too many, since workers have gone: with more turns than processes even planning would wait for one
    campaign_id = choose(connection, now) if chains is None or turn.slot < chains else None
    if campaign_id is None:
        turn_queries.idle_slot(connection, turn.slot, _IDLE)
        return None
    number = turn.number + 1
    turn_queries.ring_slot(connection, turn.slot, number, now)
    return Turn(turn.slot, number, campaign_id)


def choose(connection: Connection, now: datetime) -> int | None:
    """Whose turn it is: the publication served longest ago, then its campaign served longest ago. Marks it served."""
    # Two at once would take the same one while others wait.
    queries.serialise(connection, _TURNS)
    campaign_id = turn_queries.next_campaign(connection, now)
    if campaign_id is not None:
        turn_queries.serve(connection, campaign_id, now)
    return campaign_id


def anybody(connection: Connection, now: datetime) -> bool:
    """Whether a campaign has mail that may go now."""
    return turn_queries.next_campaign(connection, now) is not None


def held(connection: Connection, now: datetime) -> list[tuple[int, str]]:
    """(campaign, publication) of those that wait for the next day of a warm-up."""
    return [(row.id, row.publication) for row in turn_queries.resting(connection, resting_beyond(now))]


def rouse(connection: Connection, campaign_ids: Sequence[int]) -> None:
    """They may have their turns again."""
    queries.serialise(connection, _TURNS)
    turn_queries.rest(connection, campaign_ids, None)


def wake(connection: Connection, slots: int, now: datetime, stale: timedelta = STALE) -> list[Turn]:
    """Start the chains that have ended, were never rung, or have been silent for longer than `stale`."""
    states = turn_queries.lock_slots(connection, slots)
    if len(states) < slots:
        _add_missing(connection, slots)
        states = turn_queries.lock_slots(connection, slots)
    turns = []
    for state in states:
        # from the future: written by a clock that was wrong, and no sign of life
        if now - stale < state.touched_at <= now + stale:
            continue
        campaign_id = choose(connection, now)
        if campaign_id is None:
            break
        # One that was rung and has not begun is rung again by its own number; a dead one's successor gets the next.
        number = max(state.rung, state.started + 1)
        turn_queries.ring_slot(connection, state.slot, number, now)
        turns.append(Turn(state.slot, number, campaign_id))
    return turns


def _add_missing(connection: Connection, slots: int) -> None:
    queries.serialise(connection, "slots")
    there = {state.slot for state in turn_queries.lock_slots(connection, slots)}
    missing = [slot for slot in range(slots) if slot not in there]
    if missing:
        turn_queries.add_slots(connection, missing, _IDLE)


class Slots:
    """The chains of this system: so many bulk tasks are in flight at once, over all hosts."""

    def __init__(
        self, database: Database, clock: Clock, doorbell: Doorbell, otherwise: int, wanted: Callable[[], int | None]
    ) -> None:
        """`wanted`: how many chains there should be now, if that is known. `otherwise`: as long as it never was."""
        self._database = database
        self._clock = clock
        self._doorbell = doorbell
        self._otherwise = otherwise
        self._wanted = wanted

    def wake(self) -> int:
        """Ring for every chain that stands still while there is work; how many."""
        with self._database.write() as connection:
            turns = wake(connection, self.count(connection), self._clock.now())
        for turn in turns:
            self._doorbell.bulk(turn.slot, turn.number, turn.campaign_id)
        return len(turns)

    def count(self, connection: Connection) -> int:
        """How many chains the ledger wants."""
        return ledger.chains(connection) or self._otherwise

    def follow(self) -> int:
        """`wake`, after the number has followed the workers that are up: chains are added, or end with their turn."""
        wanted = self._wanted()
        with self._database.read() as connection:
            known = ledger.chains(connection)
        if wanted is not None and wanted != known:
            with self._database.write() as connection:
                kept = ledger.set_chains(connection, wanted)
            if kept:
                log.info("chains", number=wanted)
        return self.wake()
