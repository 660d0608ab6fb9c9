"""The three books of a run, read when all has come to rest: the suite's own, the ledger, the receiving server's."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any

from sqlalchemy import Connection, func, select

from tests.faults.suite.history import History
from worker.domain.identity import message_id
from worker.settings import Settings
from worker.storage.database import Database
from worker.storage.models import (
    AttemptRow,
    CampaignRow,
    DeliveryRow,
    EventRow,
    LeaseRow,
    SubscriberRow,
    SubscriptionRow,
    TallyRow,
)

DOMAIN = "blog.example"


@dataclass(frozen=True)
class Receipt:
    """One message that the receiving server has. Times are its own; `answer` is what its client was told."""

    at: float
    began: float
    body_at: float
    rcpt: str
    message_id: str
    date: str
    connection: int
    answer: str


@dataclass(frozen=True)
class Call:
    """One connection to the receiving server; `closed_at` is infinite while it is open."""

    port: int
    closed_at: float
    quit: bool


@dataclass(frozen=True)
class Delivery:
    id: int
    campaign: int | None
    kind: str
    address: str
    name: str
    status: str
    reason: str
    message_id: str
    outcomes: tuple[str, ...]
    """Of its attempts on record, in order."""


@dataclass(frozen=True)
class Campaign:
    id: int
    post: str
    status: str
    audience: frozenset[int]
    """Subscribers on its list when it was made, and on it still."""
    planned: frozenset[int]
    """Subscribers that have a delivery."""


@dataclass
class Books:
    history: History
    events: frozenset[str] = frozenset()
    active: frozenset[str] = frozenset()
    """Addresses with an active subscription."""
    campaigns: tuple[Campaign, ...] = ()
    deliveries: tuple[Delivery, ...] = ()
    leases: int = 0
    counted: Mapping[tuple[int, str, str], int] = field(default_factory=dict)
    """Deliveries by (slice, status, reason)."""
    tallied: Mapping[tuple[int, str, str], int] = field(default_factory=dict)
    """The same as the counters have it."""
    receipts: tuple[Receipt, ...] = ()
    connections: Mapping[int, Call] = field(default_factory=dict)
    lags: Sequence[tuple[float, float]] = ()
    """(when it was over, seconds) that the receiving server did not run."""


def read_books(history: History, database: Database, settings: Settings, inbox: Sequence[Mapping[str, Any]]) -> Books:
    with database.read() as connection:
        books = Books(
            history,
            events=frozenset(connection.execute(select(EventRow.event_id)).scalars()),
            active=_active(connection),
            campaigns=tuple(_campaigns(connection)),
            deliveries=tuple(_deliveries(connection, settings.secret_key.encode())),
            leases=connection.execute(select(func.count()).select_from(LeaseRow)).scalar_one(),
            counted=_counted(connection),
            tallied={(row.slice_id, row.status, row.reason): row.n for row in connection.execute(_TALLIES) if row.n},
        )
    books.receipts = tuple(_receipt(one) for one in inbox if one["event"] == "accepted")
    books.connections = calls(inbox)
    books.lags = [(one["at"], one["seconds"]) for one in inbox if one["event"] == "lag"]
    return books


def calls(inbox: Sequence[Mapping[str, Any]]) -> dict[int, Call]:
    """By their numbers. Some are still open when all has come to rest: a process that stood still until then is seen
    by what it holds, too."""
    took = {one["connection"]: Call(one["port"], inf, quit=False) for one in inbox if one["event"] == "accepted"}
    over = {one["connection"]: Call(one["port"], one["at"], one["quit"]) for one in inbox if one["event"] == "closed"}
    return took | over


_TALLIES = select(TallyRow.slice_id, TallyRow.status, TallyRow.reason, TallyRow.n)


def _active(connection: Connection) -> frozenset[str]:
    joined = select(SubscriberRow.address).join(SubscriptionRow, SubscriptionRow.subscriber_id == SubscriberRow.id)
    return frozenset(connection.execute(joined.where(SubscriptionRow.status == "active")).scalars())


def _counted(connection: Connection) -> dict[tuple[int, str, str], int]:
    rows = connection.execute(select(DeliveryRow.slice_id, DeliveryRow.status, DeliveryRow.reason))
    return dict(Counter((row.slice_id, row.status, row.reason) for row in rows))


def _campaigns(connection: Connection) -> list[Campaign]:
    found = []
    for row in connection.execute(_CAMPAIGNS).all():
        audience = select(SubscriptionRow.subscriber_id).where(
            SubscriptionRow.list_slug == row.list_slug, SubscriptionRow.id <= row.plan_until,
            SubscriptionRow.status == "active",
        )  # fmt: skip
        planned = select(DeliveryRow.subscriber_id).where(DeliveryRow.campaign_id == row.id)
        found.append(Campaign(
            row.id, row.post_id, row.status, frozenset(connection.execute(audience).scalars()),
            frozenset(one for one in connection.execute(planned).scalars() if one is not None),
        ))  # fmt: skip
    return found


_CAMPAIGNS = select(
    CampaignRow.id, CampaignRow.post_id, CampaignRow.status, CampaignRow.list_slug, CampaignRow.plan_until
)


def _deliveries(connection: Connection, key: bytes) -> list[Delivery]:
    outcomes: dict[int, list[str]] = defaultdict(list)
    for one in connection.execute(select(AttemptRow.delivery_id, AttemptRow.outcome).order_by(AttemptRow.id)):
        outcomes[one.delivery_id].append(one.outcome)
    rows = connection.execute(
        select(
            DeliveryRow.id, DeliveryRow.campaign_id, DeliveryRow.kind, DeliveryRow.address, DeliveryRow.status,
            DeliveryRow.reason, SubscriberRow.name,
        ).outerjoin(SubscriberRow, SubscriberRow.id == DeliveryRow.subscriber_id)
    )  # fmt: skip
    return [
        Delivery(row.id, row.campaign_id, row.kind, row.address, row.name or "", row.status, row.reason,
                 message_id(key, row.id, DOMAIN), tuple(outcomes[row.id]))
        for row in rows
    ]  # fmt: skip


def _receipt(one: Mapping[str, Any]) -> Receipt:
    return Receipt(
        one["at"], one["began"], one["body_at"], one["rcpt"], one["message_id"], one["date"], one["connection"],
        one["answer"],
    )  # fmt: skip

