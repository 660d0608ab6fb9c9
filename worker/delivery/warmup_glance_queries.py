"""How far the warm-ups are, in plain SQL, for `pressrun status` and for Prometheus."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from worker.domain.campaign import GOING
from worker.domain.warmup import Lane, Warmup, Warmups, day_of, next_day
from worker.storage.glance import Ask

_USED = "SELECT lane, used FROM warmup_days WHERE domain = ? AND day = ?"
_GOING = ", ".join(f"'{status}'" for status in sorted(GOING))
_QUEUED = (
    "SELECT coalesce(sum(t.n), 0) FROM campaigns c JOIN slices s ON s.campaign_id = c.id "  # noqa: S608 - our own words
    f"JOIN tallies t ON t.slice_id = s.id WHERE t.status = 'queued' AND c.status IN ({_GOING}) AND c.publication IN "
)


def warmups(ask: Ask, known: Warmups, now: datetime) -> list[dict[str, Any]]:
    """The domains that are warming up on this day, one object each.

    `{"domain", "day", "days", "used", "allowance", "waiting", "next_at", "last_on"}`: the day of the warm-up (1 is
    the first, 0 or less is before it) and how many it has; mails of today and how many may be; bulk mails that wait
    for later days, from when (ISO 8601) and on which date the last of them goes, both None where none waits.
    """
    found: dict[Warmup, list[str]] = {}
    for publication, warmup in known.items():
        if warmup.allowance(day_of(now)) is not None:
            found.setdefault(warmup, []).append(publication)
    return [_warmup(ask, warmup, publications, now) for warmup, publications in found.items()]


def _warmup(ask: Ask, warmup: Warmup, publications: Sequence[str], now: datetime) -> dict[str, Any]:
    today = day_of(now)
    used: dict[str, int] = dict(ask(_USED, (warmup.domain, today)))
    room = warmup.room(today, used.get(Lane.BULK, 0), used.get(Lane.TRANSACTIONAL, 0)) or 0
    waiting = max(0, _queued(ask, publications) - room)
    last = warmup.last_day(today, waiting) if waiting else None
    return {
        "domain": warmup.domain, "day": warmup.day(today), "days": len(warmup.schedule),
        "used": sum(used.values()), "allowance": warmup.allowance(today), "waiting": waiting,
        "next_at": next_day(now).isoformat() if waiting else None, "last_on": last and last.isoformat(),
    }  # fmt: skip


def _queued(ask: Ask, publications: Sequence[str]) -> int:
    marks = ", ".join("?" * len(publications))
    return int(ask(f"{_QUEUED}({marks})", publications)[0][0])
