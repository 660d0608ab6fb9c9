"""Erasure (GDPR Art. 17): whatever is known of a person goes, in one transaction; every count stays as it was."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from worker.audience import queries, queries_erasing
from worker.audience.addresses import Address, parse_address
from worker.audience.queries import AnyRow
from worker.domain.delivery import OPEN, DeliveryStatus, Reason
from worker.domain.errors import InvalidInput
from worker.storage import turnstile
from worker.storage.moves import Move, record_moves


@dataclass(frozen=True, slots=True)
class Erased:
    """How many rows of each kind were about the person."""

    subscribers: int
    deliveries: int
    cancelled: int
    """Of the deliveries: those that had not gone out."""
    attempts: int
    consents: int
    labels: int
    events: int
    suppressions_kept: int
    """Entries that were there stay, without their reason, or the address might be written to again;
    `unsuppress` removes them. None is made."""

    @property
    def anything(self) -> bool:
        return bool(self.subscribers or self.deliveries or self.events or self.suppressions_kept)


def erase(connection: Connection, address: Address, now: datetime) -> Erased:
    """Erase them at every publication. Their mail that has not gone out ends as cancelled."""
    queries.lock_sign_up(connection, address.address, "")
    # a look through many events, and planning waits from there on
    named = _events_naming(connection, address)
    turnstile.keeps_plans_out(connection)
    found = queries_erasing.subscribers_with(connection, address.address)
    ids = [row.id for row in found]
    emails = sorted({address.email, address.address, *(row.email for row in found)})
    deliveries = queries_erasing.deliveries_to(connection, ids, emails)
    cancelled = _cancel(connection, deliveries)
    attempts = queries_erasing.clear_deliveries(connection, [row.id for row in deliveries])
    queries_erasing.end_subscriptions(connection, ids, now)
    consents = queries_erasing.clear_consents(connection, ids)
    labels = queries_erasing.delete_labels(connection, ids)
    events = sorted({*queries_erasing.events_of(connection, ids), *named})
    queries_erasing.clear_events(connection, events)
    queries_erasing.clear_subscribers(connection, ids, now)
    kept = queries_erasing.blur_suppressions(connection, address.address)
    return Erased(len(ids), len(deliveries), cancelled, attempts, consents, labels, len(events), kept)


def _cancel(connection: Connection, deliveries: Sequence[AnyRow]) -> int:
    still = [row for row in deliveries if DeliveryStatus(row.status) in OPEN]
    if not still:
        return 0
    queries_erasing.cancel(connection, [row.id for row in still])
    places = Counter((row.slice_id, DeliveryStatus(row.status), Reason(row.reason)) for row in still)
    record_moves(
        connection,
        [Move(slice_id, status, reason, DeliveryStatus.CANCELLED, Reason.ERASED, n)
         for (slice_id, status, reason), n in places.items()],
    )  # fmt: skip
    return len(still)


def _events_naming(connection: Connection, address: Address) -> list[int]:
    """Events that led nowhere (an update for somebody unknown, a type we do not know) but hold the address."""
    return [row.id for row in queries_erasing.events_of_nobody(connection) if _names(row.data, address)]


def _names(data: Mapping[str, object], address: Address) -> bool:
    # whole addresses only: joana@example.com is somebody else than ana@example.com
    within = "|".join(re.escape(one) for one in {address.email.casefold(), address.address})
    named = re.compile(rf"(?<![\w.+-])(?:{within})(?![\w-]|\.\w)")
    return any(named.search(one.casefold()) or _same(one, address) for one in _strings(data) if "@" in one)


def _same(text: str, address: Address) -> bool:
    try:
        return parse_address(text).address == address.address
    except InvalidInput:
        return False


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _strings(one)
    elif isinstance(value, list):
        for one in value:
            yield from _strings(one)
