"""The readers of a run: most are ordinary, some are on a second list, a few are poison."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import insert, select

from worker.domain.audience import SubscriptionStatus
from worker.storage.database import Database
from worker.storage.models import SubscriberRow, SubscriptionRow

PUBLICATION = "daily"
LIST, SECOND_LIST = "posts", "extra"
# one in so many; the template fails for these
BREAKERS = 1000
# and one in so many is on the second list, which a second campaign goes to
SECOND = 7
BREAKER = "Breaker"
VICTIM = "victim@example.com"

# What intake refuses, put where only a bug or somebody else's script could put it: (address, name).
POISON = (
    ("nobody at all", "No At"),
    (f"x@example.com>\r\nRCPT TO:<{VICTIM}", "Command"),
    ("", "Empty"),
    ("local@", "No Domain"),
    ("@example.com", "No Local"),
    ("\u202efdp@example.com", "Bidi"),
    ("y" * 280 + "@example.com", "Long"),
    ("header@example.com", f"A\r\nBcc: {VICTIM}\r\n\r\nbody"),
    ("template@example.com", "{{ 7 * 7 }}{% raise %}"),
    ("longname@example.com", "n" * 200_000),
    ("controls@example.com", "\x01\x1b[31m\x7f"),
    ("lone@example.com", "=?utf-8?q?broken?="),
    ("ünïcode@exämple.com", "Ünï"),
)
# However odd their names are, these have an address and get their mail.
WRITABLE = frozenset(
    f"{local}@example.com" for local in ("header", "template", "longname", "controls", "lone")
)


def address_of(n: int) -> str:
    return f"reader{n}@example.com"


def add_readers(database: Database, n: int) -> None:
    """`n` ordinary ones on the first list, one in seven on the second; and the poison."""
    now = datetime.now(UTC)
    people = [(address_of(i), BREAKER if i % BREAKERS == min(n, BREAKERS) // 2 else f"Reader {i}") for i in range(n)]
    with database.write() as connection:
        connection.execute(insert(SubscriberRow), list(_rows([*people, *POISON], now)))
        added = connection.execute(select(SubscriberRow.id, SubscriberRow.address).order_by(SubscriberRow.id)).all()
        ties = [_tie(one.id, LIST, now) for one in added]
        ties += [_tie(one.id, SECOND_LIST, now) for one in added[: len(people)] if one.id % SECOND == 0]
        connection.execute(insert(SubscriptionRow), ties)


def _rows(people: Iterable[tuple[str, str]], now: datetime) -> Iterable[dict[str, Any]]:
    for address, name in people:
        domain = address.rpartition("@")[2][:255]
        yield {"publication": PUBLICATION, "address": address, "email": address, "domain": domain, "name": name,
               "created_at": now}  # fmt: skip


def _tie(subscriber: int, slug: str, now: datetime) -> dict[str, Any]:
    return {"publication": PUBLICATION, "list_slug": slug, "subscriber_id": subscriber,
            "status": SubscriptionStatus.ACTIVE, "created_at": now, "confirmed_at": now}  # fmt: skip
