"""The quick looks at the ledger: what stands still that should not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from worker.audit import queries
from worker.audit.findings import Finding, Kind
from worker.campaigns import turn_queries, view_queries
from worker.domain.campaign import resting_beyond
from worker.storage import ledger

# A confirmation takes a second; whoever waits for a minute has closed the page.
LATE = timedelta(seconds=60)
# Chains are touched with each turn of three seconds, planners write slices all the time.
SILENT = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class AuditRules:
    """`sweep`: how often it should run. `chains`: how many of bulk turns there are to be. `retention`: after it
    deliveries go, and counts stay."""

    sweep: timedelta
    chains: Callable[[Connection], int]
    retention: timedelta

    @property
    def grace(self) -> timedelta:
        """What a sweep deals with is overdue when several of them have passed it by."""
        return max(timedelta(seconds=30), 6 * self.sweep)


def quick(connection: Connection, rules: AuditRules, now: datetime) -> Iterator[Finding]:
    """All that can be told by probes; each scrape of `/metrics` asks for it."""
    yield from _ledger(connection, rules, now)
    yield from _leases(connection, rules, now)
    yield from _overdue(connection, rules, now)
    yield from _transactional(connection, now)
    for row in queries.unknown(connection):
        whose = "transactional mail" if row.campaign_id is None else f"campaign {row.campaign_id}"
        words = f"{int(row.n):,} of {whose} may or may not have been taken, and wait for your word"
        yield Finding.of(Kind.UNKNOWN_HELD, int(row.n), words, row.campaign_id)
    yield from _campaigns(connection, rules, now)


def sweep_age(connection: Connection, now: datetime) -> float:
    """Seconds since the last sweep was through; infinite where none ever was."""
    swept_at = ledger.look(connection).swept_at
    return float("inf") if swept_at is None else max(0.0, (now - swept_at).total_seconds())


def _ledger(connection: Connection, rules: AuditRules, now: datetime) -> Iterator[Finding]:
    seen = ledger.look(connection)
    if seen.held_at is not None:
        yield Finding.of(Kind.SENDING_HELD, 1, f"sending is held since {seen.held_at:%Y-%m-%d %H:%M}: {seen.held_why}")
    if seen.swept_at is None:
        yield Finding.of(Kind.SWEEP_SILENT, 1, "no sweep has ever been through")
    elif now - seen.swept_at > max(LATE, rules.grace):
        yield Finding.of(Kind.SWEEP_SILENT, 1, f"no sweep has been through for {_span(now - seen.swept_at)}")


def _leases(connection: Connection, rules: AuditRules, now: datetime) -> Iterator[Finding]:
    found = queries.leases(connection, now - rules.grace)
    expired = [row for row in found if row.expires_at < now - rules.grace]
    empty = [row for row in found if not row.rows and row not in expired]
    if expired:
        oldest = now - min(row.expires_at for row in expired)
        words = f"{len(expired):,} claims ran out, the first {_span(oldest)} ago, and nobody has taken them over"
        yield Finding.of(Kind.LEASE_EXPIRED, len(expired), words)
    if empty:
        yield Finding.of(Kind.LEASE_EMPTY, len(empty), f"{len(empty):,} claims hold no delivery")
    orphans = queries.sending_without_lease(connection)
    if orphans:
        words = f"{_count(orphans)} deliveries are being sent under a claim that is not there"
        yield Finding.of(Kind.SENDING_WITHOUT_LEASE, orphans, words)


def _overdue(connection: Connection, rules: AuditRules, now: datetime) -> Iterator[Finding]:
    n, first = queries.overdue_retries(connection, now - rules.grace)
    if n and first is not None:
        words = f"{_count(n)} deferred deliveries are due, the first since {_span(now - first)}"
        yield Finding.of(Kind.RETRY_OVERDUE, n, words)
    n = queries.overdue_expiries(connection, now - rules.grace)
    if n:
        yield Finding.of(Kind.EXPIRY_OVERDUE, n, f"{_count(n)} deliveries are past their expiry and not ended")


def _transactional(connection: Connection, now: datetime) -> Iterator[Finding]:
    oldest = view_queries.oldest_transactional(connection)
    if oldest is not None and now - oldest > LATE and ledger.look(connection).held_at is None:
        n = view_queries.queued_transactional(connection)
        words = f"{n:,} confirmations and the like wait, the first since {_span(now - oldest)}"
        yield Finding.of(Kind.TRANSACTIONAL_LATE, n, words)


def _campaigns(connection: Connection, rules: AuditRules, now: datetime) -> Iterator[Finding]:
    due = turn_queries.next_campaign(connection, now)
    touched = queries.last_touched(connection, rules.chains(connection))
    # a chain that has ended, and was woken just now, is touched when it is rung
    if due is not None and (touched is None or now - touched > SILENT) and _long_queued(connection, now):
        words = f"campaign {due} has mail that is due, and no bulk chain has been heard of for a minute"
        yield Finding.of(Kind.CHAINS_SILENT, 1, words)
    for one in queries.planning_campaigns(connection, now - SILENT):
        newest = queries.newest_slice(connection, one)
        if newest is None or now - newest > SILENT:
            yield Finding.of(Kind.CAMPAIGN_UNPLANNED, 1, f"campaign {one} is to be planned, and nobody is at it")
    for one in queries.unserved(connection, view_queries.at_rest(connection), now - SILENT):
        yield Finding.of(Kind.CAMPAIGN_UNFINISHED, 1, f"campaign {one} has nothing left to send and is not finished")
    for row in queries.failed_campaigns(connection):
        yield Finding.of(Kind.CAMPAIGN_FAILED, 1, f"campaign {row.id} has failed: {row.reason}", row.id)


def _long_queued(connection: Connection, now: datetime) -> bool:
    oldest = view_queries.oldest_bulk(connection, resting_beyond(now))
    return oldest is not None and now - oldest > SILENT


def _count(n: int) -> str:
    return f"{n:,} or more" if n >= queries.MOST else f"{n:,}"


def _span(time: timedelta) -> str:
    return str(timedelta(seconds=round(time.total_seconds())))
