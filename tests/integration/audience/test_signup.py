"""Signing up: pending with its evidence and one confirmation; strangers cannot fill a mailbox or change a reader."""

from __future__ import annotations

from datetime import timedelta
from threading import Barrier, Thread

import pytest
from sqlalchemy import insert

from tests.integration.audience.conftest import DAILY, KEYS, RULES, Desk
from tests.ledger import assert_counters_agree
from worker.audience import leave
from worker.audience.signup import Consent
from worker.delivery.claim import Claimer
from worker.domain.publication import Publication
from worker.domain.tokens import Purpose
from worker.storage.models import (
    ConsentRow,
    DeliveryRow,
    LabelRow,
    SubscriberRow,
    SubscriptionRow,
    SuppressionRow,
)


def test_a_new_reader_is_pending_and_gets_one_confirmation(desk: Desk) -> None:
    result = desk.sign_up("Ana@GMail.com", ip="203.0.113.7", name="Ana", labels=("press", "vip"))
    (reader,) = desk.rows(SubscriberRow)
    assert (reader.id, reader.address, reader.email) == (result.subscriber_id, "ana@gmail.com", "Ana@gmail.com")
    assert (reader.name, reader.domain) == ("Ana", "gmail.com")
    (subscription,) = desk.rows(SubscriptionRow)
    assert (subscription.status, subscription.list_slug, subscription.confirmed_at) == ("pending", "posts", None)
    (consent,) = desk.rows(ConsentRow)
    assert (consent.action, consent.at, consent.ip) == ("requested", desk.now, "203.0.113.7")
    assert (consent.form, consent.wording) == ("footer", "v1")
    (mail,) = desk.rows(DeliveryRow)
    assert (mail.id,) == result.deliveries
    assert (mail.kind, mail.address, mail.destination) == ("confirmation", "Ana@gmail.com", "google")
    assert (mail.status, mail.subscription_id) == ("queued", subscription.id)
    assert mail.expires_at == desk.now + RULES.confirm_lifetime
    assert {one.label for one in desk.rows(LabelRow)} == {"press", "vip"}
    assert "confirmation queued" in result.note
    assert_counters_agree(desk.database)


def test_several_lists_are_confirmed_by_one_mail(desk: Desk) -> None:
    desk.sign_up("ana@example.com", "posts", "notes", "posts")
    assert desk.status("posts") == desk.status("notes") == ("pending", 0)
    assert [kind for kind, _ in desk.mails()] == ["confirmation"]
    assert len(desk.consents()) == 2


def test_one_confirmation_in_ten_minutes_and_three_a_day(desk: Desk) -> None:
    assert desk.sign_up().deliveries
    desk.clock.advance(minutes=9, seconds=59)
    limited = desk.sign_up("ANA@example.com")
    assert limited.deliveries == ()
    assert "within the last 600 seconds" in limited.note
    assert "example" not in limited.note
    desk.clock.advance(seconds=1)
    assert desk.sign_up().deliveries
    desk.clock.advance(hours=1)
    assert desk.sign_up().deliveries
    desk.clock.advance(hours=1)
    assert "allowed: 3" in desk.sign_up().note
    assert len(desk.mails()) == 3
    # every one of the requests is on record, mail or no mail
    assert len(desk.consents()) == 5
    desk.clock.advance(hours=22)
    assert desk.sign_up().deliveries
    assert desk.status() == ("pending", 0)


def test_the_limits_count_over_all_publications_and_spellings(desk: Desk, weekly: Publication) -> None:
    assert desk.sign_up("Ana@example.com").deliveries
    assert not desk.sign_up("aNA@EXAMPLE.com", publication=weekly).deliveries
    assert desk.standing() == {
        ("daily", "ana@example.com", "posts"): ("pending", 0),
        ("weekly", "ana@example.com", "posts"): ("pending", 0),
    }


def test_a_cap_for_each_ip_that_we_saw(desk: Desk) -> None:
    for n in range(5):
        assert desk.sign_up(f"victim{n}@example.com", ip="203.0.113.7").deliveries
    limited = desk.sign_up("victim5@example.com", ip="203.0.113.7")
    assert limited.deliveries == ()
    assert "from this IP" in limited.note
    assert desk.status(email="victim5@example.com") == ("pending", 0)
    assert desk.sign_up("victim6@example.com", ip="203.0.113.8").deliveries
    desk.clock.advance(hours=1)
    assert desk.sign_up("victim7@example.com", ip="203.0.113.7").deliveries


def test_an_ipv6_host_is_one_whichever_address_of_its_network_it_takes(desk: Desk) -> None:
    """It may take 2^64 of them; however the zeros are shortened, it is the same network."""
    hosts = ("2001:db8:0:7::1", "2001:db8:0:7:1::", "2001:db8:0:7:a:b:c:d", "2001:db8:0:7:ffff::1", "2001:db8:0:7::2")
    for n, ip in enumerate(hosts):
        assert desk.sign_up(f"victim{n}@example.com", ip=ip).deliveries
    limited = desk.sign_up("victim5@example.com", ip="2001:db8:0:7::3")
    assert limited.deliveries == ()
    assert "from this IP" in limited.note
    # its neighbours, whose addresses look alike, are somebody else
    for n, ip in enumerate(("2001:db8:0:70::1", "2001:db8::7:0:0:1", "2001:db8:7::1", "2001:db8:0:8::3")):
        assert desk.sign_up(f"reader{n}@example.com", ip=ip).deliveries


def test_of_ipv4_each_address_is_somebody(desk: Desk) -> None:
    for n in range(8):
        assert desk.sign_up(f"reader{n}@example.com", ip=f"203.0.113.{n}").deliveries


def test_an_ip_that_a_publisher_tells_is_evidence_and_no_cap(desk: Desk) -> None:
    for n in range(8):
        told = Consent(desk.now, "203.0.113.7", "footer", "v1")
        assert desk.sign_up(f"reader{n}@example.com", consent=told).deliveries


def test_twenty_at_once_lead_to_one_confirmation(desk: Desk, weekly: Publication) -> None:
    start = Barrier(20)
    failures: list[BaseException] = []

    def work(n: int) -> None:
        start.wait()
        try:
            desk.sign_up("ana@example.com", publication=weekly if n % 2 else DAILY, ip=f"203.0.113.{n % 3}")
        except BaseException as error:
            failures.append(error)

    threads = [Thread(target=work, args=(n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(desk.mails()) == 1
    assert len(desk.rows(SubscriberRow)) == len(desk.rows(SubscriptionRow)) == 2
    assert len(desk.consents()) == 20
    assert_counters_agree(desk.database)


def test_who_is_active_gets_a_mail_that_says_so_under_the_same_limits(desk: Desk) -> None:
    desk.sign_up(confirmed=True, name="Ana")
    assert desk.mails() == []
    result = desk.sign_up("ANA@example.com", name="A rude word")
    assert desk.mails() == [("already_subscribed", "ana@example.com")]
    assert "already subscribed" in result.note
    (reader,) = desk.rows(SubscriberRow)
    assert (reader.name, reader.email) == ("Ana", "ana@example.com"), "a stranger must not rename a reader"
    assert desk.status() == ("active", 0)
    assert not desk.sign_up().deliveries
    # one list they are on and one they are not: that is something to confirm
    desk.clock.advance(minutes=10)
    desk.sign_up("ana@example.com", "posts", "notes")
    mail = desk.rows(DeliveryRow)[-1]
    assert mail.kind == "confirmation"
    assert next(one for one in desk.rows(SubscriptionRow) if one.id == mail.subscription_id).list_slug == "notes"
    assert desk.status("posts") == ("active", 0)


def test_the_publishers_word_makes_active_without_a_mail(desk: Desk, welcoming: Publication) -> None:
    desk.sign_up()
    evidence = Consent(desk.now - timedelta(days=2), "203.0.113.9", "paper", "v0", "scan 17")
    result = desk.sign_up("ana@example.com", publication=welcoming, confirmed=True, name="Ana", consent=evidence)
    assert result.deliveries == ()
    assert desk.status() == ("active", 0)
    assert [kind for kind, _ in desk.mails()] == ["confirmation"], "only the one from before"
    last = desk.rows(ConsentRow)[-1]
    assert (last.action, last.at, last.evidence) == ("confirmed", evidence.at, "scan 17")
    assert desk.rows(SubscriberRow)[0].name == "Ana"


def _leave(desk: Desk) -> None:
    with desk.database.write() as connection:
        assert leave.leave(connection, KEYS, desk.token(Purpose.UNSUBSCRIBE), "", desk.now, one_click=False)


def test_who_left_and_signs_up_again_begins_anew(desk: Desk) -> None:
    desk.sign_up()
    _leave(desk)
    left_at = desk.now
    desk.clock.advance(days=1)
    desk.sign_up()
    assert desk.status() == ("pending", 1)
    (subscription,) = desk.rows(SubscriptionRow)
    assert (subscription.created_at, subscription.unsubscribed_at) == (desk.now, left_at), "until it is confirmed"


def test_a_strangers_sign_up_does_not_make_forget_that_the_reader_left(desk: Desk) -> None:
    """Anybody can type an address into the form; the consent from before the leaving is still no consent."""
    old = Consent(desk.now, "203.0.113.9", "paper")
    desk.sign_up(confirmed=True, consent=old)
    desk.sign_up()
    desk.clock.advance(hours=1)
    _leave(desk)
    desk.clock.advance(hours=1)
    desk.sign_up()
    desk.sign_up(confirmed=True, consent=old)
    assert desk.status() == ("pending", 1)
    desk.sign_up(confirmed=True, consent=Consent(desk.now, "203.0.113.9", "paper"))
    assert desk.status() == ("active", 1)
    (subscription,) = desk.rows(SubscriptionRow)
    assert subscription.unsubscribed_at is None


def test_an_old_consent_told_again_does_not_bring_back_who_left(desk: Desk) -> None:
    old = Consent(desk.now, "203.0.113.9", "paper")
    desk.sign_up(confirmed=True, consent=old)
    desk.sign_up()
    desk.clock.advance(hours=1)
    _leave(desk)
    again = desk.sign_up(confirmed=True, consent=old)
    assert desk.status() == ("unsubscribed", 0)
    assert "left since" in again.note
    desk.clock.advance(hours=1)
    desk.sign_up(confirmed=True, consent=Consent(desk.now, "203.0.113.9", "paper"))
    assert desk.status() == ("active", 1)


def test_mail_to_a_suppressed_address_is_queued_and_ends_in_plain_sight(desk: Desk) -> None:
    with desk.database.write() as connection:
        connection.execute(
            insert(SuppressionRow).values(address="ana@example.com", publication="*", reason="operator", evidence="",
                                          created_at=desk.now)
        )  # fmt: skip
    result = desk.sign_up()
    claim = Claimer(desk.database, desk.clock, "here:1", timedelta(seconds=30)).transactional(result.deliveries)
    assert claim is not None
    assert claim.ended == 1
    (mail,) = desk.rows(DeliveryRow)
    assert (mail.status, mail.reason) == ("suppressed", "suppressed_address")


@pytest.mark.parametrize("name", ["Robert'); DROP TABLE subscribers;--", "名前", "a" * 5000, '<b onclick="x">'])
def test_names_are_kept_as_they_are(desk: Desk, name: str) -> None:
    desk.sign_up(name=name)
    assert desk.rows(SubscriberRow)[0].name == name
