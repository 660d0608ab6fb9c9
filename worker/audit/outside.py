"""What lies beside the ledger: the queues in Redis, limits that are closed, journals on this host."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from redis import Redis

from worker.audit.findings import Finding, Kind
from worker.delivery.journal import Deceased
from worker.delivery.throttling import LimitState
from worker.domain.breaker import Breaker

# So many rings more than there is work for: nobody takes them. Doubled and outdated ones are nothing unusual.
_SPARE_RINGS = 50
# Whoever died just now is the next sweep's.
_YOUNG_SECONDS = 60.0

# What stands still, and the queue whose ring would set it going.
_RUNG_BY = {
    Kind.TRANSACTIONAL_LATE: "transactional", Kind.CHAINS_SILENT: "bulk", Kind.CAMPAIGN_UNPLANNED: "events",
}  # fmt: skip


def queue_depths(client: Redis, queues: Sequence[str], prefix: str) -> dict[str, int]:
    """How many tasks wait in each of Celery's queues. Raises `RedisError`."""
    with client.pipeline(transaction=False) as pipe:
        for name in queues:
            pipe.llen(f"{prefix}{name}")
        return dict(zip(queues, map(int, pipe.execute()), strict=True))


def unread(depths: Mapping[str, int], due: Mapping[str, int]) -> Iterator[Finding]:
    """Queues with more tasks than the ledger has work for."""
    for name, depth in depths.items():
        if depth > due.get(name, 0) + _SPARE_RINGS:
            words = f"{depth:,} tasks wait in queue {name}, for {due.get(name, 0):,} that are due in the ledger"
            yield Finding.of(Kind.QUEUE_UNREAD, depth, words)


def doorbells_lost(depths: Mapping[str, int], found: Collection[Kind]) -> Iterator[Finding]:
    """What stands still, and nobody has been told."""
    for kind, queue in _RUNG_BY.items():
        if kind in found and depths.get(queue) == 0:
            yield Finding.of(Kind.DOORBELL_LOST, 1, f"{kind}: no task for it waits in queue {queue}")


def closed_limits(states: Sequence[LimitState]) -> Iterator[Finding]:
    for one in states:
        if one.closed_for > 0:
            words = f"limit {one.name} is closed for {one.closed_for:.0f} s: {one.why}"
            yield Finding.of(Kind.LIMIT_CLOSED, 1, words)


def open_breakers(found: Mapping[str, Breaker]) -> Iterator[Finding]:
    """What throttles, the longest first; going direct there may be many at once."""
    not_whole = sorted(((one.failures, name) for name, one in found.items() if one.failures), reverse=True)
    if not_whole:
        named = ", ".join(f"{name} ({failures} in a row: {found[name].why})" for failures, name in not_whole[:3])
        more = ", …" if len(not_whole) > 3 else ""
        yield Finding.of(Kind.BREAKER_OPEN, len(not_whole), f"{len(not_whole):,} breakers are not whole: {named}{more}")


def journals_left(folder: Path) -> Iterator[Finding]:
    """Journals of this host whose owners are dead. A sweep on this host reads them, and another host's cannot."""
    left = [path.name for path in sorted(folder.glob("*.journal")) if _is_left(path)]
    if left:
        words = f"{len(left):,} journals of dead processes lie in {folder}: {', '.join(left[:3])}"
        yield Finding.of(Kind.JOURNAL_LEFT, len(left), words)


def _is_left(path: Path) -> bool:
    try:
        if time.time() - path.stat().st_mtime < _YOUNG_SECONDS:
            return False
    except FileNotFoundError:
        return False
    dead = Deceased.seize(path)
    if dead is None:
        return False
    dead.release(bury=False)
    return True
