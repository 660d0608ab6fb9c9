"""The day's allowance of a sending domain that warms up: taken in the claim's own transaction, given back unsent.

What counts is what mailbox providers count, a message offered to them: a retry is one more, and one that was refused
counts too. What never came to `MAIL FROM` does not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from worker.delivery import warmup_queries
from worker.delivery.parcels import Result
from worker.domain.replies import Stage
from worker.domain.warmup import Lane, Warmup, day_of, next_day


@dataclass(frozen=True, slots=True)
class Allowed:
    """How many of a claim's mails may go today.

    `counter`: what they were taken from. `held_until`: when more may go, where these are not all.
    """

    n: int
    counter: int | None = None
    held_until: datetime | None = None


def take_bulk(connection: Connection, warmup: Warmup, wanted: int, now: datetime, margin: timedelta) -> Allowed:
    """Bulk mail, up to what is left of the day. `margin`: how long after `now` the last of a claim may start.

    Claims come one after the other here: each keeps the domain's row until it is committed.
    """
    today, tomorrow = day_of(now), next_day(now)
    if warmup.allowance(today) is None:
        return Allowed(wanted)
    if now + margin >= tomorrow:
        # it would start tomorrow, on top of tomorrow's
        return Allowed(0, held_until=tomorrow)
    row = warmup_queries.lock_bulk(connection, warmup.domain, today)
    n = min(wanted, warmup.room(today, row.used, row.transactional) or 0)
    if n:
        warmup_queries.add(connection, {row.id: n})
    return Allowed(n, row.id, tomorrow if n < wanted else None)


def take_transactional(connection: Connection, warmup: Warmup, wanted: int, now: datetime) -> Allowed:
    """All of it: a reader waits for it. It is counted, and bulk mail makes room."""
    today = day_of(now)
    if warmup.allowance(today) is None:
        return Allowed(wanted)
    return Allowed(wanted, warmup_queries.count_transactional(connection, warmup.domain, today, wanted))


def has_room(connection: Connection, warmup: Warmup, now: datetime) -> bool:
    """Whether bulk mail of this domain may go now."""
    today = day_of(now)
    used = warmup_queries.used(connection, warmup.domain, today)
    return warmup.room(today, used.get(Lane.BULK, 0), used.get(Lane.TRANSACTIONAL, 0)) != 0


def give_back(connection: Connection, written: Iterable[Result]) -> None:
    """Those of them that were never offered to anybody, each to the day it was taken from."""
    unsent = Counter(
        one.claimed.warmup_day_id for one in written if one.claimed.warmup_day_id is not None and not _offered(one)
    )
    warmup_queries.add(connection, {counter: -n for counter, n in unsent.items()})


def _offered(result: Result) -> bool:
    return result.exchange is not None and result.exchange.stage is not Stage.CONNECT
