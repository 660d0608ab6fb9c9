"""Leaving works for ever and at once; the manage link changes all lists of a publication."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.integration.audience.conftest import DAILY, KEYS, Desk
from worker.audience import leave, manage
from worker.audience.leave import Membership
from worker.audience.manage import Choices
from worker.domain.audience import SubscriptionStatus
from worker.domain.errors import InvalidInput
from worker.domain.publication import Publication
from worker.domain.tokens import Purpose
from worker.storage.models import ConsentRow, SubscriptionRow

ACTIVE, PENDING, LEFT = SubscriptionStatus.ACTIVE, SubscriptionStatus.PENDING, SubscriptionStatus.UNSUBSCRIBED


def go(desk: Desk, token: str, *, one_click: bool = True) -> Membership | None:
    with desk.database.write() as connection:
        return leave.leave(connection, KEYS, token, "198.51.100.4", desk.now, one_click=one_click)


def choose(desk: Desk, token: str, *wanted: str, publication: Publication = DAILY) -> Choices | None:
    with desk.database.write() as connection:
        return manage.choose(connection, KEYS, token, publication, wanted, "198.51.100.4", desk.now)


@pytest.fixture
def reader(desk: Desk) -> Desk:
    """Ana is active on `posts`; an `already_subscribed` mail has given her links."""
    desk.sign_up(confirmed=True)
    desk.sign_up()
    return desk


@pytest.mark.parametrize(("one_click", "form"), [(True, "one-click (RFC 8058)"), (False, "unsubscribe page")])
def test_leaving_is_written_down_and_doing_it_again_changes_nothing(reader: Desk, one_click: bool, form: str) -> None:
    token = reader.token(Purpose.UNSUBSCRIBE)
    done = go(reader, token, one_click=one_click)
    assert done is not None
    assert (done.publication, done.list_slug, done.email, done.left) == ("daily", "posts", "ana@example.com", True)
    assert reader.status() == ("unsubscribed", 0)
    assert reader.rows(SubscriptionRow)[0].unsubscribed_at == reader.now
    last = reader.rows(ConsentRow)[-1]
    assert (last.action, last.ip, last.form, last.at) == ("withdrawn", "198.51.100.4", form, reader.now)
    before = reader.dump()
    reader.clock.advance(hours=1)
    assert go(reader, token, one_click=not one_click) == done
    assert reader.dump() == before


def test_only_the_named_list_is_left(reader: Desk) -> None:
    reader.sign_up("ana@example.com", "notes", confirmed=True)
    go(reader, reader.token(Purpose.UNSUBSCRIBE, 0))
    assert (reader.status("posts")[0], reader.status("notes")[0]) == ("unsubscribed", "active")


def test_an_old_link_works_after_coming_back_and_ten_years_later(reader: Desk) -> None:
    token = reader.token(Purpose.UNSUBSCRIBE)
    go(reader, token)
    reader.clock.advance(days=3650)
    reader.sign_up(confirmed=True)
    assert reader.status() == ("active", 1)
    assert go(reader, token) is not None
    assert reader.status() == ("unsubscribed", 1)


def test_looking_changes_nothing(reader: Desk) -> None:
    before = reader.dump()
    with reader.database.read() as connection:
        seen = leave.look(connection, KEYS, reader.token(Purpose.UNSUBSCRIBE))
        choices = manage.look(connection, KEYS, reader.token(Purpose.MANAGE), DAILY)
    assert seen is not None
    assert not seen.left
    assert choices == Choices("daily", "ana@example.com", {"posts": ACTIVE, "notes": None})
    assert reader.dump() == before


def test_links_of_another_purpose_or_cut_short_do_nothing(reader: Desk) -> None:
    unsubscribe, manages = reader.token(Purpose.UNSUBSCRIBE), reader.token(Purpose.MANAGE)
    before = reader.dump()
    for token in [manages, reader.token(Purpose.CONFIRM), *(unsubscribe[:n] for n in range(len(unsubscribe)))]:
        assert go(reader, token) is None
    for token in [unsubscribe, *(manages[:n] for n in range(len(manages)))]:
        assert choose(reader, token) is None
    assert choose(reader, manages, publication=replace(DAILY, slug="weekly")) is None
    assert reader.dump() == before


def test_the_unsubscribe_page_leads_to_the_manage_page(reader: Desk) -> None:
    done = go(reader, reader.token(Purpose.UNSUBSCRIBE))
    assert done is not None
    with reader.database.write() as connection:
        found = manage.join(connection, KEYS, done.manage_token, DAILY, "posts", "", reader.now)
    assert found is not None
    assert found.lists == {"posts": ACTIVE, "notes": None}


def test_choosing_joins_at_once_and_leaves_the_rest(reader: Desk) -> None:
    token = reader.token(Purpose.MANAGE)
    found = choose(reader, token, "notes")
    assert found is not None
    assert found.lists == {"posts": LEFT, "notes": ACTIVE}
    assert reader.consents()[-2:] == [(1, "withdrawn"), (2, "confirmed")]
    before = reader.dump()
    assert choose(reader, token, "notes", "no-such-list") == found
    assert reader.dump() == before
    back = choose(reader, token, "posts", "notes")
    assert back is not None
    assert back.lists == {"posts": ACTIVE, "notes": ACTIVE}
    assert reader.status("posts") == ("active", 1)
    assert [kind for kind, _ in reader.mails()] == ["already_subscribed"], "no mail follows from it"


def test_what_waits_for_confirmation_goes_on_waiting_unless_wanted(desk: Desk) -> None:
    desk.sign_up("ana@example.com", "posts", "notes")
    token = desk.token(Purpose.MANAGE)
    assert choose(desk, token) == Choices("daily", "ana@example.com", {"posts": PENDING, "notes": PENDING})
    found = choose(desk, token, "posts")
    assert found is not None
    assert found.lists == {"posts": ACTIVE, "notes": PENDING}
    with desk.database.write() as connection:
        manage.leave_all(connection, KEYS, token, DAILY, "", desk.now)
    assert (desk.status("posts")[0], desk.status("notes")[0]) == ("unsubscribed", "unsubscribed")


def test_a_list_that_is_no_longer_configured_can_still_be_left(reader: Desk) -> None:
    fewer = replace(DAILY, lists=(DAILY.lists[1],))
    token = reader.token(Purpose.MANAGE)
    choose(reader, token, publication=fewer)
    assert reader.status("posts") == ("active", 0), "it is not on the page, so nothing is said about it"
    with reader.database.write() as connection:
        manage.leave_all(connection, KEYS, token, fewer, "", reader.now)
    assert reader.status("posts") == ("unsubscribed", 0)


def test_joining_names_a_list_that_is_not_there(reader: Desk) -> None:
    with pytest.raises(InvalidInput, match="no such list"), reader.database.write() as connection:
        manage.join(connection, KEYS, reader.token(Purpose.MANAGE), DAILY, "nope", "", reader.now)
