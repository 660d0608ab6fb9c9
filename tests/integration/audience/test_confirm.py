"""Confirming: a link does one thing once, and only what was asked for when it was made."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.integration.audience.conftest import DAILY, KEYS, RULES, Desk
from tests.ledger import assert_counters_agree
from worker.audience import confirm, leave
from worker.audience.confirm import Confirmation, ConfirmState
from worker.audience.signup import Consent, SignUpResult
from worker.domain.publication import Publication
from worker.domain.tokens import Claim, KeyRing, Purpose
from worker.storage.models import ConsentRow, DeliveryRow, SubscriptionRow


def click(desk: Desk, token: str, publication: Publication = DAILY) -> Confirmation:
    with desk.database.write() as connection:
        return confirm.confirm(connection, KEYS, RULES, {"daily": publication}, token, "198.51.100.4", desk.now)


def look(desk: Desk, token: str) -> ConfirmState:
    with desk.database.read() as connection:
        return confirm.look(connection, KEYS, RULES, token, desk.now).state


def resend(desk: Desk, token: str) -> SignUpResult | None:
    with desk.database.write() as connection:
        consent = Consent(desk.now, "192.0.2.1")
        return confirm.resend(connection, KEYS, RULES, {"daily": DAILY}, token, consent, desk.now)


def unsubscribe(desk: Desk) -> None:
    with desk.database.write() as connection:
        leave.leave(connection, KEYS, desk.token(Purpose.UNSUBSCRIBE), "", desk.now, one_click=True)


def test_confirms_once_and_says_so_ever_after(desk: Desk) -> None:
    desk.sign_up()
    token = desk.token(Purpose.CONFIRM)
    assert look(desk, token) == ConfirmState.READY
    assert desk.status() == ("pending", 0)
    done = click(desk, token)
    assert (done.state, done.publication, done.lists) == (ConfirmState.CONFIRMED, "daily", ("posts",))
    assert (done.email, done.deliveries) == ("ana@example.com", ())
    assert desk.status() == ("active", 0)
    assert desk.rows(SubscriptionRow)[0].confirmed_at == desk.now
    last = desk.rows(ConsentRow)[-1]
    assert (last.action, last.ip, last.form, last.at) == ("confirmed", "198.51.100.4", "confirmation link", desk.now)
    before = desk.dump()
    assert click(desk, token).state == ConfirmState.ALREADY
    assert look(desk, token) == ConfirmState.ALREADY
    assert desk.dump() == before


def test_a_link_ends_with_its_time_and_there_is_a_way_to_a_new_one(desk: Desk) -> None:
    desk.sign_up("ana@example.com", "posts", "notes")
    token = desk.token(Purpose.CONFIRM)
    desk.clock.advance(hours=71, minutes=59)
    assert look(desk, token) == ConfirmState.READY
    desk.clock.advance(minutes=1)
    assert look(desk, token) == click(desk, token).state == ConfirmState.EXPIRED
    assert desk.status() == ("pending", 0)
    again = resend(desk, token)
    assert again is not None
    assert len(again.deliveries) == 1
    assert desk.rows(ConsentRow)[-1].ip == "192.0.2.1"
    assert resend(desk, token) is not None
    assert len(desk.mails()) == 2, "the limits hold here as well"
    assert set(click(desk, desk.token(Purpose.CONFIRM)).lists) == {"posts", "notes"}
    assert desk.status("notes") == desk.status("posts") == ("active", 0)


def test_a_link_of_an_earlier_life_is_worthless(desk: Desk) -> None:
    desk.sign_up()
    old = desk.token(Purpose.CONFIRM)
    unsubscribe(desk)
    assert click(desk, old).state == ConfirmState.EXPIRED, "leaving ends it at once"
    desk.clock.advance(minutes=10)
    desk.sign_up()
    assert look(desk, old) == click(desk, old).state == ConfirmState.EXPIRED
    assert desk.status() == ("pending", 1)
    assert click(desk, desk.token(Purpose.CONFIRM)).state == ConfirmState.CONFIRMED
    assert click(desk, old).state == ConfirmState.ALREADY
    assert desk.status() == ("active", 1)


def test_an_earlier_mail_of_the_same_life_still_works(desk: Desk) -> None:
    desk.sign_up()
    first = desk.token(Purpose.CONFIRM)
    desk.clock.advance(minutes=10)
    desk.sign_up()
    assert click(desk, first).state == ConfirmState.CONFIRMED


def test_a_list_that_was_asked_for_later_is_not_confirmed_with_it(desk: Desk) -> None:
    desk.sign_up()
    token = desk.token(Purpose.CONFIRM)
    desk.clock.advance(minutes=1)
    # by whoever: it gets no mail, since one has just gone out
    assert desk.sign_up("ana@example.com", "notes").deliveries == ()
    assert click(desk, token).lists == ("posts",)
    assert desk.status("notes") == ("pending", 0)


def test_a_mail_that_waited_while_its_reader_left_and_came_back_confirms(desk: Desk) -> None:
    desk.sign_up()
    unsubscribe(desk)
    desk.clock.advance(minutes=1)
    assert desk.sign_up().deliveries == ()
    # the first mail goes out only now, with the generation of now
    assert click(desk, desk.token(Purpose.CONFIRM)).lists == ("posts",)
    assert desk.status() == ("active", 1)


def test_a_welcome_goes_out_once_where_the_publication_wants_it(desk: Desk, welcoming: Publication) -> None:
    desk.sign_up()
    token = desk.token(Purpose.CONFIRM)
    (welcome,) = click(desk, token, welcoming).deliveries
    assert click(desk, token, welcoming).deliveries == ()
    mail = desk.rows(DeliveryRow)[-1]
    assert (mail.id, mail.kind, mail.address, mail.status) == (welcome, "welcome", "ana@example.com", "queued")
    assert_counters_agree(desk.database)


def test_only_a_genuine_whole_confirmation_token_does_anything(desk: Desk) -> None:
    desk.sign_up()
    token = desk.token(Purpose.CONFIRM)
    claim = KEYS.read(token, Purpose.CONFIRM)
    assert claim is not None
    stranger = KeyRing({1: b"somebody else's key"}, 1)
    wrong = [token[:length] for length in range(len(token))]
    wrong += [token + "A", token[:-1] + ("A" if token[-1] != "A" else "Q"), token.swapcase()]
    wrong += ["\0", "é" * 40, "x" * 9999]
    wrong += [desk.token(Purpose.UNSUBSCRIBE), desk.token(Purpose.MANAGE), stranger.sign(claim)]
    wrong += [KEYS.sign(Claim(Purpose.CONFIRM, number, 0, claim.issued)) for number in (0, 999_999, 2**62)]
    before = desk.dump()
    for one in wrong:
        assert look(desk, one) == click(desk, one).state == ConfirmState.INVALID, one
        assert resend(desk, one) is None
    assert desk.dump() == before


def test_resending_for_an_active_reader_says_so_by_mail(desk: Desk) -> None:
    desk.sign_up()
    token = desk.token(Purpose.CONFIRM)
    click(desk, token)
    desk.clock.advance(days=4)
    assert resend(desk, token) is not None
    assert [kind for kind, _ in desk.mails()] == ["confirmation", "already_subscribed"]


@pytest.mark.parametrize("seconds", [0, 1])
def test_the_lifetime_counts_from_the_mails_own_time(desk: Desk, seconds: int) -> None:
    desk.clock.advance(microseconds=900_000)
    desk.sign_up()
    token = desk.token(Purpose.CONFIRM)
    assert look(desk, token) == ConfirmState.READY
    desk.clock.advance(seconds=timedelta(hours=72).total_seconds() - 1 + seconds)
    # tokens hold whole seconds
    assert look(desk, token) == (ConfirmState.EXPIRED if seconds else ConfirmState.READY)
