"""What is held back, and would be sent: in plain SQL, for `pressrun status` too, which does without SQLAlchemy."""

from __future__ import annotations

from typing import Any

from worker.domain.campaign import GOING
from worker.domain.delivery import OPEN
from worker.storage.glance import Ask, moment


def _words(statuses: frozenset[Any]) -> str:
    return ", ".join(f"'{one}'" for one in sorted(statuses))


_HELD = "SELECT held_at, held_why FROM ledger WHERE held_at IS NOT NULL"
_COUNTED = f"sum(t.n) FROM tallies t JOIN slices s ON s.id = t.slice_id AND t.status IN ({_words(OPEN)})"
_CAMPAIGNS = (
    f"SELECT c.id, c.publication, c.post_id, {_COUNTED} JOIN campaigns c ON c.id = s.campaign_id "
    f"WHERE c.status IN ({_words(GOING)}) GROUP BY c.id, c.publication, c.post_id HAVING sum(t.n) > 0 ORDER BY c.id"
)
_TRANSACTIONAL = (
    f"SELECT s.publication, s.kind, {_COUNTED} WHERE s.campaign_id IS NULL GROUP BY s.publication, s.kind "
    "HAVING sum(t.n) > 0 ORDER BY s.publication, s.kind"
)


def held(ask: Ask) -> dict[str, Any] | None:
    """`{"since", "why", "campaigns": [{"id", "publication", "post", "n"}], "transactional": [{"publication", "kind",
    "n"}]}`: what would be sent if it were released; None where nothing is held."""
    found = ask(_HELD, ())
    if not found:
        return None
    since = moment(found[0][0])
    return {"since": since and since.isoformat(), "why": found[0][1], **would_send(ask)}


def would_send(ask: Ask) -> dict[str, list[dict[str, Any]]]:
    """By campaign that is going, and by kind of transactional mail: how many are queued, being sent or deferred."""
    return {
        "campaigns": [
            {"id": one, "publication": publication, "post": post, "n": int(n)}
            for one, publication, post, n in ask(_CAMPAIGNS, ())
        ],
        "transactional": [
            {"publication": publication, "kind": kind, "n": int(n)}
            for publication, kind, n in ask(_TRANSACTIONAL, ())
        ],
    }
