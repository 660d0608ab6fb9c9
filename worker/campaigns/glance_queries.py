"""`pressrun status` in plain SQL, the same questions as `view_queries` (a test holds the answers together)."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from worker.campaigns.views import campaign_object, lane_object
from worker.domain.campaign import GOING, resting_beyond
from worker.domain.errors import NotFound
from worker.storage.glance import Ask, moment
from worker.storage.held import held

_HEAD = "id, publication, post_id, status, reason, created_at, started_at, finished_at, rests_until"
_GOING = "status IN (" + ", ".join(f"'{status}'" for status in sorted(GOING)) + ")"
_COUNTS = (
    "SELECT s.campaign_id, t.status, sum(t.n) FROM slices s JOIN tallies t ON t.slice_id = s.id "
    "WHERE s.campaign_id IN ({}) GROUP BY s.campaign_id, t.status"
)
_QUEUED = (
    "SELECT coalesce(sum(t.n), 0) FROM slices s JOIN tallies t ON t.slice_id = s.id "
    "WHERE t.status = 'queued' AND s.campaign_id {}"
)
_OLDEST_TRANSACTIONAL = (
    "SELECT d.created_at FROM deliveries d WHERE d.status = 'queued' AND d.campaign_id IS NULL ORDER BY d.id LIMIT 1"
)
# what may be sent now: campaigns that are going, and do not wait for the next day of a warm-up
_SENDING = f"{_GOING} AND (rests_until IS NULL OR rests_until <= ?)"
_OF_SENDING = f"IN (SELECT id FROM campaigns WHERE {_SENDING})"  # noqa: S608 - our own words
_OLDEST_OF_SENDING = (
    "SELECT min(s.planned_at) FROM slices s JOIN tallies t ON t.slice_id = s.id "  # noqa: S608
    f"WHERE t.status = 'queued' AND t.n > 0 AND s.campaign_id {_OF_SENDING}"
)


@dataclass(frozen=True, slots=True)
class _Head:
    id: int
    publication: str
    post_id: str
    status: str
    reason: str
    created_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    rests_until: datetime | None


def status(ask: Ask, now: datetime, *, campaign_id: int | None = None, limit: int = 20) -> dict[str, Any]:
    """`{"campaigns": [the newest first, as `campaign_object`], "queues": {NAME: {"depth", "oldest_s"}}}`, and `held`
    (see there) while sending is.

    Raises `NotFound` for a campaign that does not exist.
    """
    heads = _heads(ask, campaign_id, limit)
    if campaign_id is not None and not heads:
        raise NotFound(f"there is no campaign {campaign_id}")
    ids = [one.id for one in heads]
    counts, retrying = _counts(ask, ids), _retrying(ask, ids)
    held_back = held(ask)
    return {
        "campaigns": [campaign_object(one, counts[one.id], now, retrying.get(one.id, ())) for one in heads],
        "queues": {
            "transactional": _lane(ask, now, "IS NULL", _OLDEST_TRANSACTIONAL, ()),
            "bulk": _lane(ask, now, _OF_SENDING, _OLDEST_OF_SENDING, (resting_beyond(now),)),
        },
        **({} if held_back is None else {"held": held_back}),
    }


def _heads(ask: Ask, campaign_id: int | None, limit: int) -> list[_Head]:
    if campaign_id is None:
        rows = ask(f"SELECT {_HEAD} FROM campaigns ORDER BY id DESC LIMIT ?", (limit,))  # noqa: S608 - our own words
    else:
        rows = ask(f"SELECT {_HEAD} FROM campaigns WHERE id = ?", (campaign_id,))  # noqa: S608
    return [_Head(*row[:5], *(moment(at) for at in row[5:])) for row in rows]


def _counts(ask: Ask, ids: Sequence[int]) -> defaultdict[int, dict[str, int]]:
    found: defaultdict[int, dict[str, int]] = defaultdict(dict)
    if ids:
        for campaign_id, word, n in ask(_COUNTS.format(_marks(ids)), ids):
            if n:
                found[campaign_id][word] = int(n)
    return found


def _retrying(ask: Ask, ids: Sequence[int]) -> dict[int, list[str]]:
    if not ids:
        return {}
    found = ask(f"SELECT campaign_id, statuses FROM retries WHERE campaign_id IN ({_marks(ids)})", ids)  # noqa: S608
    # SQLite keeps JSON as text
    return {one: json.loads(said) if isinstance(said, str) else said for one, said in found}


def _lane(ask: Ask, now: datetime, chosen: str, oldest: str, values: Sequence[object]) -> dict[str, float]:
    depth = int(ask(_QUEUED.format(chosen), values)[0][0])
    found = ask(oldest, values) if depth else []
    return lane_object(depth, moment(found[0][0]) if found else None, now)


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))
