"""What publishers say about their readers, and addresses that must not be written to."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Barrier, Thread

import pytest

from tests.integration.audience.conftest import DAILY, Desk
from worker.audience.addresses import parse_address
from worker.audience.changes import Changed, delete_subscriber, update_subscriber
from worker.audience.suppression import EVERYBODY, Suppression, is_suppressed, suppress, suppressions, unsuppress
from worker.domain.audience import SuppressionReason
from worker.domain.errors import Conflict
from worker.storage.models import ConsentRow, LabelRow, SubscriberRow


def update(
    desk: Desk, email: str = "ana@example.com", *, new: str | None = None, name: str | None = None,
    locale: str | None = None, labels: Sequence[str] | None = None,
) -> Changed:  # fmt: skip
    with desk.database.write() as connection:
        return update_subscriber(
            connection, DAILY, parse_address(email), new_address=None if new is None else parse_address(new),
            name=name, locale=locale, labels=labels, now=desk.now,
        )  # fmt: skip


def delete(desk: Desk, email: str = "ana@example.com") -> Changed:
    with desk.database.write() as connection:
        return delete_subscriber(connection, DAILY, parse_address(email), desk.now)


def test_what_is_given_is_changed_and_the_rest_stays(desk: Desk) -> None:
    desk.sign_up(name="Ana", labels=("press", "vip"))
    assert update(desk, "ANA@example.com", locale="es").note == "changed: locale"
    assert update(desk, name="", labels=["new", "vip"]).note == "changed: name, labels"
    (reader,) = desk.rows(SubscriberRow)
    assert (reader.name, reader.locale, reader.email) == ("", "es", "ana@example.com")
    assert {one.label for one in desk.rows(LabelRow)} == {"new", "vip"}
    assert update(desk, locale="es").note == "nothing changed"


def test_a_new_address_keeps_the_subscriptions(desk: Desk) -> None:
    desk.sign_up(confirmed=True)
    assert update(desk, new="Ana.Lopez@Bücher.example").note == "changed: email"
    (reader,) = desk.rows(SubscriberRow)
    assert reader.address == "ana.lopez@xn--bcher-kva.example"
    assert (reader.email, reader.domain) == ("Ana.Lopez@xn--bcher-kva.example", "xn--bcher-kva.example")
    assert desk.status(email=reader.address) == ("active", 0)


def test_an_address_that_another_reader_has_is_a_conflict(desk: Desk) -> None:
    desk.sign_up()
    desk.sign_up("bo@example.com")
    before = desk.dump()
    with pytest.raises(Conflict, match=r"data\.subscriber\.new_email"):
        update(desk, name="changed", new="BO@example.com")
    assert desk.dump() == before
    update(desk, new="ANA@example.com")
    assert desk.rows(SubscriberRow)[0].email == "ANA@example.com"


def test_two_who_take_the_same_address_at_once_do_not_both_get_it(desk: Desk) -> None:
    desk.sign_up()
    desk.sign_up("bo@example.com")
    start = Barrier(2)
    ends: list[str] = []

    def work(email: str) -> None:
        start.wait()
        try:
            update(desk, email, new="cy@example.com")
            ends.append("changed")
        except Conflict:
            ends.append("conflict")

    threads = [Thread(target=work, args=(one,)) for one in ("ana@example.com", "bo@example.com")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ends) == ["changed", "conflict"]


def test_who_is_not_there_is_not_made(desk: Desk) -> None:
    assert update(desk, name="Ana") == delete(desk) == Changed(None, "no such subscriber: nothing changed")
    assert desk.rows(SubscriberRow) == []


def test_a_deleted_subscriber_is_unsubscribed_from_everything(desk: Desk) -> None:
    desk.sign_up("ana@example.com", "posts", confirmed=True)
    desk.sign_up("ana@example.com", "notes")
    assert delete(desk).note == "unsubscribed from posts, notes"
    assert {status for status, _ in desk.standing().values()} == {"unsubscribed"}
    last = desk.rows(ConsentRow)[-1]
    assert (last.action, last.form, last.evidence) == ("withdrawn", "publisher", "subscriber.deleted")
    before = desk.dump()
    assert delete(desk).note == "unsubscribed from nothing"
    assert desk.dump() == before


def test_suppression_is_of_one_publication_or_of_all(desk: Desk) -> None:
    ana, shouted = parse_address("ana@example.com"), parse_address("ANA@Example.com")
    hard, complaint = SuppressionReason.HARD_BOUNCE, SuppressionReason.COMPLAINT
    with desk.database.write() as connection:
        assert not is_suppressed(connection, "daily", ana)
        assert suppress(connection, ana, "daily", hard, "550 5.1.1", desk.now)
        assert not suppress(connection, shouted, "daily", complaint, "later", desk.now), "the first reason stays"
        assert is_suppressed(connection, "daily", shouted)
        assert not is_suppressed(connection, "weekly", ana)
        assert suppress(connection, ana, EVERYBODY, complaint, "", desk.now)
        assert is_suppressed(connection, "weekly", ana)
        assert suppressions(connection, ana) == [
            Suppression("*", complaint, "", desk.now), Suppression("daily", hard, "550 5.1.1", desk.now),
        ]  # fmt: skip
        assert unsuppress(connection, ana, "daily")
        assert not unsuppress(connection, ana, "daily")
        assert is_suppressed(connection, "daily", ana), "that for everybody is still there"
        assert unsuppress(connection, shouted, EVERYBODY)
        assert not is_suppressed(connection, "daily", ana)
