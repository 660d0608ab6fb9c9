"""What a delivery looks like from outside: the same object in `pressrun delivery --json` and over HTTP."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from worker.delivery import view_queries
from worker.domain.delivery import DeliveryStatus
from worker.domain.errors import NotFound
from worker.domain.identity import message_id
from worker.domain.publication import Publication
from worker.domain.replies import Outcome

if TYPE_CHECKING:
    from sqlalchemy import Connection

# A first try that was taken is not among the attempts on record: the delivery itself tells of it, also when a
# bounce or a complaint came back later.
_TAKEN = frozenset(
    {DeliveryStatus.SENT, DeliveryStatus.DELIVERED, DeliveryStatus.COMPLAINED, DeliveryStatus.BOUNCED}
)


class DeliveryViews:
    """`key` and `publications` are what Message-IDs are derived from; nothing of them is stored."""

    def __init__(self, key: bytes, publications: Mapping[str, Publication]) -> None:
        self._key = key
        self._publications = publications

    def one(self, connection: Connection, delivery_id: int) -> dict[str, Any]:
        """One delivery's whole life, as `of_campaign`, with `publication` and `created_at` besides.

        Raises `NotFound`.
        """
        row = view_queries.one(connection, delivery_id)
        if row is None:
            raise NotFound(f"there is no delivery {delivery_id}")
        more = {"publication": row.publication, "created_at": _iso(row.created_at)}
        return self._objects(connection, [row])[0] | more

    def of_campaign(
        self, connection: Connection, campaign_id: int, *, status: str | None = None, after: int = 0, limit: int = 100
    ) -> list[dict[str, Any]]:
        """`{"id", "campaign", "kind", "address", "status", "reason", "message_id", "next_attempt_at", "attempts":
        [{"at", "outcome", "code", "enhanced", "reply"}]}` each, by id, those with an id above `after`. Times in
        ISO 8601.
        """
        return self._objects(connection, view_queries.of_campaign(connection, campaign_id, status, after, limit))

    def with_status(
        self, connection: Connection, status: str | None, *, publication: str | None = None,
        transactional_only: bool = False, after: int = 0, limit: int = 100,
    ) -> list[dict[str, Any]]:  # fmt: skip
        """The same over all campaigns, and transactional mail; `status` None only with `transactional_only`."""
        found = view_queries.with_status(
            connection, status, publication, after, limit, transactional_only=transactional_only
        )
        return self._objects(connection, found)

    def _objects(self, connection: Connection, rows: Sequence[view_queries.AnyRow]) -> list[dict[str, Any]]:
        kept: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
        for attempt in view_queries.attempts_of(connection, [row.id for row in rows]):
            kept[attempt.delivery_id].append(_attempt(attempt.at, attempt.outcome, attempt))
        return [self._object(row, kept[row.id]) for row in rows]

    def _object(self, row: view_queries.AnyRow, attempts: list[dict[str, Any]]) -> dict[str, Any]:
        last = _iso(row.last_attempt_at)
        if row.attempts == 1 and row.status in _TAKEN and all(attempt["at"] != last for attempt in attempts):
            attempts = [*attempts, _attempt(row.last_attempt_at, Outcome.ACCEPTED, row)]
        return {
            "id": row.id, "campaign": row.campaign_id, "kind": row.kind, "address": row.address,
            "status": row.status, "reason": row.reason, "message_id": self._message_id(row),
            "next_attempt_at": _iso(row.next_attempt_at), "attempts": attempts,
        }  # fmt: skip

    def _message_id(self, row: view_queries.AnyRow) -> str | None:
        publication = self._publications.get(row.publication)
        # a publication whose file was taken away has no domain any more
        return None if publication is None else message_id(self._key, row.id, publication.sender.domain)


def _attempt(at: datetime | None, outcome: str, said: view_queries.AnyRow) -> dict[str, Any]:
    return {
        "at": _iso(at), "outcome": str(outcome), "code": said.code, "enhanced": said.enhanced, "reply": said.reply,
    }  # fmt: skip


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
