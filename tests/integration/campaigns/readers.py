"""An audience, a publication and the parts of the campaigns room, for these tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, insert, select, text, update

from tests.ledger import POST
from worker.campaigns.control import Control
from worker.campaigns.opening import CampaignRules, Opened, open_campaign, unpublish
from worker.campaigns.planning import CompileCheck, Planner
from worker.campaigns.turns import Slots
from worker.domain.audience import SubscriptionStatus
from worker.domain.clock import Clock
from worker.domain.doorbell import RecordingDoorbell
from worker.domain.publication import Brand, MailingList, Publication, Sender
from worker.storage.database import Database
from worker.storage.models import (
    CampaignRow,
    DeliveryRow,
    LabelRow,
    SliceRow,
    SubscriberRow,
    SubscriptionRow,
    TallyRow,
)

DAILY = Publication(
    "daily", "The Daily", Sender("The Daily", "news@daily.example"), Brand("https://blog.example"),
    (MailingList("posts", "Posts"),),
)  # fmt: skip
GROUPS = (("google", ("gmail.com", "googlemail.com")), ("yahoo", ("yahoo.com",)))
RULES = CampaignRules(per_hour=10, max_age=None)
DOMAINS = ("gmail.com", "yahoo.com", "example.com")


def add_readers(
    database: Database, now: datetime, n: int, *, status: SubscriptionStatus = SubscriptionStatus.ACTIVE,
    list_slug: str = "posts", labels: Sequence[str] = (), prefix: str = "reader", publication: str = "daily",
) -> list[int]:  # fmt: skip
    """Their subscriber ids. Domains go round `DOMAINS`."""
    people = [
        {"publication": publication, "address": f"{prefix}{i}@{DOMAINS[i % 3]}", "domain": DOMAINS[i % 3],
         "email": f"{prefix.title()}{i}@{DOMAINS[i % 3]}", "created_at": now}
        for i in range(n)
    ]  # fmt: skip
    with database.write() as connection:
        adding = insert(SubscriberRow).returning(SubscriberRow.id, sort_by_parameter_order=True)
        ids = list(connection.execute(adding, people).scalars())
        tie = {"publication": publication, "list_slug": list_slug, "status": status, "created_at": now}
        connection.execute(insert(SubscriptionRow), [{**tie, "subscriber_id": one} for one in ids])
        if labels:
            rows = [{"subscriber_id": one, "label": label} for one in ids for label in labels]
            connection.execute(insert(LabelRow), rows)
    return ids


def add_million(connection: Connection, n: int, now: datetime) -> None:
    """A large audience, made inside the database."""
    series = (
        f"WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < {n})"
        if connection.dialect.name == "sqlite"
        else f"WITH s(i) AS (SELECT generate_series(1, {n}))"
    )
    at = now.strftime("%Y-%m-%d %H:%M:%S.000000") + ("" if connection.dialect.name == "sqlite" else "+00")
    connection.execute(text(
        f"INSERT INTO subscribers (publication, address, email, domain, name, locale, created_at) {series} "
        f"SELECT 'daily', 'r' || i || '@example.com', 'r' || i || '@example.com', 'example.com', '', '', '{at}' FROM s"
    ))  # fmt: skip
    connection.execute(text(
        "INSERT INTO subscriptions (publication, list_slug, subscriber_id, status, generation, created_at) "
        f"SELECT 'daily', 'posts', id, 'active', 0, '{at}' FROM subscribers ORDER BY id"
    ))  # fmt: skip


def publish(
    database: Database, now: datetime, *, post_id: str = "post-1", publication: Publication = DAILY,
    rules: CampaignRules = RULES, labels: Sequence[str] = (), published_at: str | None = None,
    list_slug: str = "posts", title: str = "A post",
) -> Opened:  # fmt: skip
    post = {**POST, "id": post_id, "title": title, "published_at": published_at or now.isoformat()}
    with database.write() as connection:
        return open_campaign(connection, rules, publication, post_id, post, list_slug, labels, now)


def take_back(database: Database, clock: Clock, post_id: str = "post-1") -> Opened | None:
    with database.write() as connection:
        return unpublish(connection, "daily", post_id, clock.now())


@dataclass
class Room:
    """The campaigns room over one database, its doorbell recorded and its rests not slept."""

    database: Database
    clock: Clock
    slots: int = 2
    wanted: int | None = None
    bell: RecordingDoorbell = field(default_factory=RecordingDoorbell)
    rests: list[float] = field(default_factory=list)

    @property
    def chains(self) -> Slots:
        return Slots(self.database, self.clock, self.bell, self.slots, lambda: self.wanted)

    @property
    def control(self) -> Control:
        return Control(self.database, self.clock, self.bell, self.chains, self.rests.append)

    def planner(self, check: CompileCheck = lambda *_: None) -> Planner:
        return Planner(
            self.database, self.clock, self.bell, {"daily": DAILY}, GROUPS, check, self.chains, self.rests.append
        )

    def plan(self, campaign_id: int) -> None:
        """Until no planner rings for itself any more."""
        todo = [campaign_id]
        while todo:
            self.bell.rings.clear()
            self.planner().run(todo.pop())
            todo = [campaign_id for ring in self.bell.rings if ring[0] == "plan"]


def campaign(database: Database, campaign_id: int) -> CampaignRow:
    with database.read() as connection:
        found = connection.execute(select(*CampaignRow.__table__.columns).where(CampaignRow.id == campaign_id)).one()
    row: CampaignRow = found  # type: ignore[assignment]
    return row


def set_status(database: Database, ids: Sequence[int], status: str, reason: str = "", **values: object) -> None:
    """Move deliveries as the delivery room would, with their tallies."""
    with database.write() as connection:
        chosen = update(DeliveryRow).where(DeliveryRow.id.in_(ids))
        connection.execute(chosen.values(status=status, reason=reason, **values))
        connection.execute(update(TallyRow).values(n=0))
        rows = connection.execute(select(DeliveryRow.slice_id, DeliveryRow.status, DeliveryRow.reason))
        counted = Counter((row.slice_id, row.status, row.reason) for row in rows)
        for (slice_id, word, why), n in counted.items():
            key = (TallyRow.slice_id == slice_id, TallyRow.status == word, TallyRow.reason == why)
            if connection.execute(update(TallyRow).where(*key).values(n=n)).rowcount == 0:
                connection.execute(insert(TallyRow).values(slice_id=slice_id, status=word, reason=why, n=n))


def deliveries(database: Database, campaign_id: int) -> list[int]:
    with database.read() as connection:
        return list(connection.execute(
            select(DeliveryRow.id).where(DeliveryRow.campaign_id == campaign_id).order_by(DeliveryRow.id)
        ).scalars())  # fmt: skip


def slices(database: Database, campaign_id: int) -> int:
    with database.read() as connection:
        return len(connection.execute(select(SliceRow.id).where(SliceRow.campaign_id == campaign_id)).all())
