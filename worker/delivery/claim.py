"""Claiming: a lease with a fencing token over as many rows as there are rate-limit tokens.

The transaction that takes the rows also checks suppression, subscription, campaign and expiry: what must
not go ends here, with its reason. Rows that may not go yet are not touched at all.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from worker.delivery import queries, set_queries, warmup
from worker.delivery.parcels import Claimed, Lease
from worker.delivery.queries import AnyRow
from worker.delivery.set_queries import QueuedRow
from worker.delivery.warmup import Allowed
from worker.domain.audience import SubscriptionStatus, address_key
from worker.domain.clock import Clock
from worker.domain.delivery import DeliveryStatus, Kind, Reason
from worker.domain.warmup import NO_WARMUPS, Warmups
from worker.storage.database import Database
from worker.storage.moves import Move, record_moves

Queued = QueuedRow | AnyRow
"""A row with what the checks and the mail need, from either query."""

# Promise 5 allows 2 s from the reader's leaving to the last conversation that starts; the rest is for the
# time between the check and the first byte.
START_WITHIN_SECONDS = 1.8

# A row whose claims end again and again without an outcome kills its workers: it is stopped, not looped.
MAX_CLAIMS = 5
# From here on a row is a suspect and goes alone, so that those that shared its claims do not end with it.
_SUSPECT = 2


@dataclass(frozen=True, slots=True)
class Claim:
    """A lease and the deliveries under it. `ended`: rows that were looked at and came to an end instead.

    `held_until`: the sender's domain is warming up, and what is left of the campaign waits for its next day.
    `without`: destinations that have nothing queued. `passed_over`: those that may have, where a suspect goes alone.
    """

    lease: Lease
    claimed: tuple[Claimed, ...]
    ended: int
    held_until: datetime | None = None
    without: frozenset[str] = frozenset()
    passed_over: frozenset[str] = frozenset()

    def taken(self, destination: str) -> int:
        """How many of its deliveries are for it."""
        return sum(one.destination == destination for one in self.claimed)


class Claimer:
    """Claims for one process. `owner` names its journal."""

    def __init__(
        self, database: Database, clock: Clock, owner: str, lease: timedelta, warmups: Warmups = NO_WARMUPS
    ) -> None:
        self._database = database
        self._clock = clock
        self._owner = owner
        self._lease = lease
        self._warmups = warmups

    def campaign(self, campaign_id: int, wanted: Mapping[str, int]) -> Claim | None:
        """Queued rows of a going campaign, up to the number for each destination; None where there are none at all.

        Where the first destination has a suspect, that goes alone; those of the others wait until theirs is the first.
        """
        without: set[str] = set()
        chosen: set[str] = set()

        def choose(connection: Connection) -> Sequence[Queued]:
            found: list[Queued] = []
            for destination, limit in wanted.items():
                rows = set_queries.queued_of_campaign(connection, campaign_id, destination, limit)
                suspect = next(filter(_is_suspect, rows), None)
                if not rows:
                    without.add(destination)
                elif suspect is None:
                    found += rows
                    chosen.add(destination)
                elif not found:
                    chosen.add(destination)
                    return [suspect]
            return found

        claim = self._claim(choose)
        if claim is None or len(chosen) == len(wanted):
            return claim
        passed_over = wanted.keys() - without - chosen
        return replace(claim, without=frozenset(without), passed_over=frozenset(passed_over))

    def transactional(self, ids: Sequence[int]) -> Claim | None:
        """Those of these deliveries of one publication and destination that are queued, or None where none is."""

        def choose(connection: Connection) -> Sequence[Queued]:
            rows = queries.queued_transactional(connection, ids)
            return [row for row in rows if _is_suspect(row)][:1] or rows

        return self._claim(choose)

    def _claim(self, choose: Callable[[Connection], Sequence[Queued]]) -> Claim | None:
        # read before the transaction: what a reader does after it is seen by the next claim at the latest
        ticks, now = self._clock.ticks(), self._clock.now()
        expires_at = now + self._lease
        with self._database.write(journalled=True) as connection:
            rows = choose(connection)
            if not rows:
                return None
            good, moves = _sort_out(connection, rows, now)
            ended = len(rows) - len(good)
            allowed = self._allowed(connection, good, now)
            good = good[: allowed.n]
            lease_id = 0
            if good:
                lease_id = queries.open_lease(connection, self._owner, now, expires_at, allowed.counter)
                set_queries.take(connection, lease_id, [row.id for row in good])
            # all at once, and so in one order: two claims would wait for each other's tallies crosswise
            record_moves(connection, [*moves, *_taken(good)])
            asked = [row.subscriber_id for row in good if row.kind == Kind.CONFIRMATION and row.subscriber_id]
            lists = queries.pending_lists(connection, asked) if asked else {}
        until = ticks + self._lease.total_seconds()
        lease = Lease(lease_id, ticks + START_WITHIN_SECONDS, until, expires_at, len(good))
        ours = tuple(
            claimed(row, lease_id, lists.get(row.subscriber_id or 0, ()), allowed.counter) for row in good
        )
        return Claim(lease, ours, ended, allowed.held_until)

    def _allowed(self, connection: Connection, rows: Sequence[Queued], now: datetime) -> Allowed:
        """How many of them the warm-up of their domain lets go; all, at no cost, where it is not warming up."""
        warming = self._warmups.get(rows[0].publication) if rows else None
        if warming is None:
            return Allowed(len(rows))
        if rows[0].campaign_id is None:
            return warmup.take_transactional(connection, warming, len(rows), now)
        return warmup.take_bulk(connection, warming, len(rows), now, timedelta(seconds=START_WITHIN_SECONDS))


def _is_suspect(row: Queued) -> bool:
    return bool(_SUSPECT <= row.claims < MAX_CLAIMS)


def _sort_out(connection: Connection, rows: Sequence[Queued], now: datetime) -> tuple[list[Queued], list[Move]]:
    """End what must not go; the rest, and the moves of what has ended."""
    good: list[Queued] = []
    moves: list[Move] = []
    ends: dict[tuple[DeliveryStatus, Reason], list[Queued]] = defaultdict(list)
    kept_out = _kept_out(connection, rows)
    for row in rows:
        end = verdict(row, now, suppressed=row.suppressed or row.id in kept_out)
        if end is None:
            good.append(row)
        else:
            ends[end].append(row)
    for (status, reason), ended in ends.items():
        queries.end(connection, [row.id for row in ended], status, reason)
        moves += [Move(row.slice_id, DeliveryStatus.QUEUED, Reason.NONE, status, reason) for row in ended]
    return good, moves


def _kept_out(connection: Connection, rows: Sequence[Queued]) -> set[int]:
    """Rows to an address that is suppressed and not (or no longer) the reader's; few are to such an address at all."""
    keys = {row.id: address_key(row.address) for row in rows if row.elsewhere}
    if not keys:
        return set()
    suppressed = queries.suppressed_keys(connection, rows[0].publication, set(keys.values()))
    return {delivery_id for delivery_id, key in keys.items() if key in suppressed}


def verdict(row: Queued, now: datetime, *, suppressed: bool) -> tuple[DeliveryStatus, Reason] | None:
    """Where a queued row must end instead of being sent, or None where it may go."""
    if row.erased_at is not None:
        return DeliveryStatus.CANCELLED, Reason.ERASED
    if suppressed:
        return DeliveryStatus.SUPPRESSED, Reason.SUPPRESSED_ADDRESS
    if row.expires_at is not None and row.expires_at <= now:
        return DeliveryStatus.EXPIRED, Reason.EXPIRED
    if row.claims >= MAX_CLAIMS:
        return DeliveryStatus.FAILED, Reason.OUR_FAULT
    wanted = _WANTED.get(row.kind)
    if wanted is not None and row.subscription_status != wanted:
        return DeliveryStatus.SUPPRESSED, Reason.UNSUBSCRIBED
    return None


# What the subscription must be for a mail to make sense; a test mail needs none. The rows' words find their kinds.
_WANTED: dict[str, SubscriptionStatus] = {
    Kind.NEW_POST: SubscriptionStatus.ACTIVE,
    Kind.WELCOME: SubscriptionStatus.ACTIVE,
    Kind.ALREADY_SUBSCRIBED: SubscriptionStatus.ACTIVE,
    Kind.CONFIRMATION: SubscriptionStatus.PENDING,
}


def _taken(rows: Sequence[Queued]) -> list[Move]:
    none, old, new = Reason.NONE, DeliveryStatus.QUEUED, DeliveryStatus.SENDING
    return [Move(one, old, none, new, none, n) for one, n in Counter(row.slice_id for row in rows).items()]


def claimed(
    row: Queued, lease_id: int, lists: tuple[str, ...] = (), warmup_day_id: int | None = None
) -> Claimed:
    """A row of the parcel query as a value."""
    return Claimed(
        id=row.id, lease_id=lease_id, publication=row.publication, kind=_KINDS[row.kind], campaign_id=row.campaign_id,
        slice_id=row.slice_id, subscription_id=row.subscription_id, generation=row.generation or 0,
        lists=lists or ((row.list_slug,) if row.list_slug else ()),
        address=row.address, name=row.name or "", locale=row.locale or "",
        created_at=row.created_at, attempts=row.attempts, first_attempt_at=row.first_attempt_at,
        expires_at=row.expires_at, shows_campaign_id=row.shows_campaign_id,
        warmup_day_id=warmup_day_id, destination=row.destination,
    )  # fmt: skip


# Asking the enumeration itself takes a call of two of its functions for each mail.
_KINDS: dict[str, Kind] = {str(one): one for one in Kind}
