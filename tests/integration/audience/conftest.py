"""A publication, the rules, and what tests ask the ledger."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from worker.audience.addresses import parse_address
from worker.audience.signup import Consent, SignUp, SignUpResult, SignUpRules, sign_up
from worker.domain.clock import FakeClock
from worker.domain.publication import Brand, MailingList, Publication, Sender
from worker.domain.tokens import Claim, KeyRing, Purpose
from worker.storage.database import Database
from worker.storage.models import Base, ConsentRow, DeliveryRow, SubscriberRow, SubscriptionRow

KEYS = KeyRing({1: b"a key for tests, and for nothing else"}, 1)
DAILY = Publication(
    slug="daily",
    name="The Daily",
    sender=Sender("The Daily", "news@blog.example"),
    brand=Brand("https://blog.example"),
    lists=(MailingList("posts", "New posts"), MailingList("notes", "Notes")),
)
RULES = SignUpRules(
    confirm_lifetime=timedelta(hours=72),
    interval=timedelta(minutes=10),
    per_day=3,
    per_ip_hour=5,
    group_of=lambda domain: "google" if domain == "gmail.com" else "",
)


@dataclass
class Desk:
    """Does what readers do, and looks into the ledger."""

    database: Database
    clock: FakeClock

    @property
    def now(self) -> datetime:
        return self.clock.now()

    def sign_up(
        self, email: str = "ana@example.com", *lists: str, publication: Publication = DAILY, ip: str = "",
        confirmed: bool = False, name: str = "", labels: tuple[str, ...] = (), consent: Consent | None = None,
    ) -> SignUpResult:  # fmt: skip
        """A sign-up as the form makes it; `ip` is seen by us."""
        signup = SignUp(
            address=parse_address(email), name=name, locale="", lists=lists or ("posts",), labels=labels,
            confirmed=confirmed, consent=consent or Consent(self.now, ip, "footer", "v1"), seen_ip=ip,
        )  # fmt: skip
        with self.database.write() as connection:
            return sign_up(connection, RULES, publication, signup, self.now)

    def rows(self, table: type[Base]) -> list[Any]:
        with self.database.read() as connection:
            return list(connection.execute(select(table.__table__).order_by(*table.__table__.primary_key)).all())

    def mails(self) -> list[tuple[str, str]]:
        return [(one.kind, one.address) for one in self.rows(DeliveryRow)]

    def standing(self) -> dict[tuple[str, str, str], tuple[str, int]]:
        """(publication, address, list) → (status, generation)"""
        readers = {one.id: one for one in self.rows(SubscriberRow)}
        return {
            (one.publication, readers[one.subscriber_id].address, one.list_slug): (one.status, one.generation)
            for one in self.rows(SubscriptionRow)
        }

    def status(self, list_slug: str = "posts", email: str = "ana@example.com") -> tuple[str, int]:
        return self.standing()["daily", email, list_slug]

    def consents(self) -> list[tuple[int, str]]:
        return [(one.subscription_id, one.action) for one in self.rows(ConsentRow)]

    def token(self, purpose: Purpose, delivery: int = -1) -> str:
        """The link in a mail: as the delivery room makes it, of the subscription as it was then."""
        mail = self.rows(DeliveryRow)[delivery]
        subscription = next(one for one in self.rows(SubscriptionRow) if one.id == mail.subscription_id)
        return KEYS.sign(Claim(purpose, subscription.id, subscription.generation, int(mail.created_at.timestamp())))

    def dump(self) -> dict[str, list[Any]]:
        """Every row of every table."""
        with self.database.read() as connection:
            return {
                name: list(connection.execute(select(table).order_by(*table.primary_key)).all())
                for name, table in Base.metadata.tables.items()
            }


@pytest.fixture
def desk(database: Database, clock: FakeClock) -> Desk:
    return Desk(database, clock)


@pytest.fixture
def weekly() -> Publication:
    return replace(DAILY, slug="weekly", name="The Weekly")


@pytest.fixture
def welcoming() -> Publication:
    return replace(DAILY, welcome=True)


