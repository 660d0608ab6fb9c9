"""What is asked at every sign-up must not grow with what was ever sent: each question has its index."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import Connection

from tests.integration.audience.conftest import Desk
from tests.plans import plans
from worker.audience import queries, queries_erasing, queries_unconfirmed
from worker.storage.database import Database

Ask = Callable[[Connection, Desk], object]


@pytest.mark.parametrize("backend", ["sqlite"])
@pytest.mark.parametrize(
    ("ask", "index"),
    [
        (lambda c, desk: queries.sign_up_mails(c, "a@x.test", "A@x.test", desk.now), "ix_deliveries_address"),
        (lambda c, desk: queries.others_from_ip(c, "203.0.113.7", desk.now, 1, 20), "ix_consents_ip_at"),
        (lambda c, desk: queries.requests_from(c, "2001:db8:", desk.now, 1), "ix_consents_ip_at"),
        (lambda c, desk: queries_unconfirmed.over(c, desk.now, [1], [1]), "ix_deliveries_subscriber"),
        (lambda c, _: queries_unconfirmed.delete_subscribers(c, [1]), "ix_events_subscriber_id"),
        (lambda c, _: queries.holder(c, 1, lock=False), "PRIMARY KEY"),
        (lambda c, _: queries.subscriptions(c, 1), "sqlite_autoindex_subscriptions"),
        (lambda c, _: queries_erasing.deliveries_to(c, [1], ["a@x.test"]), "ix_deliveries_subscriber"),
        (lambda c, _: queries_erasing.events_of(c, [1]), "ix_events_subscriber_id"),
    ],
)
def test_each_question_has_its_index(database: Database, desk: Desk, ask: Ask, index: str) -> None:
    found = plans(database, lambda connection: ask(connection, desk))
    assert any(index in step for step in found), found
    # a scan of what the statement itself has just gathered is none of a table
    assert not any(step.startswith("SCAN") and "anon" not in step for step in found), found
    assert not any("ix_deliveries_campaign" in step for step in found), found
