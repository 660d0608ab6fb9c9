"""The import: set-based, safe to run again, and nobody who left is brought back."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime
from threading import Thread

import pytest

from tests.integration.audience.conftest import KEYS, Desk
from worker.audience import importer, leave
from worker.audience.addresses import parse_address
from worker.audience.csvfile import BadRow
from worker.audience.importer import BATCH_ROWS, ImportInto, ImportResult, import_csv
from worker.audience.suppression import EVERYBODY, suppress
from worker.domain.audience import SuppressionReason
from worker.domain.errors import InvalidInput
from worker.domain.tokens import Purpose
from worker.storage.models import ConsentRow, LabelRow, SubscriberRow, SubscriptionRow

INTO = ImportInto("daily", "posts", "readers.csv")


def run(desk: Desk, text: str | bytes, reported: list[BadRow] | None = None) -> ImportResult:
    data = text if isinstance(text, bytes) else text.encode()
    report = (lambda _: None) if reported is None else reported.append
    return import_csv(desk.database, desk.clock, io.BytesIO(data), INTO, report)


def test_readers_are_active_with_the_evidence_of_their_line(desk: Desk) -> None:
    text = (
        "email,name,vip,city,consent_at,consent_ip,consent_evidence\n"
        "Ana@Example.com,Ana López,yes,Madrid,,,\n"
        "nonsense,,,,,,\n"
        "bo@bücher.example,,,,2024-05-01T12:00:00+02:00,203.0.113.5,paper form 17\n"
    )
    reported: list[BadRow] = []
    result = run(desk, text, reported)
    assert result == ImportResult(rows=2, added=2, bad=1)
    assert [one.line for one in reported] == [3]
    ana, bo = desk.rows(SubscriberRow)
    assert (ana.address, ana.email, ana.name) == ("ana@example.com", "Ana@example.com", "Ana López")
    assert (bo.address, bo.domain, bo.created_at) == ("bo@xn--bcher-kva.example", "xn--bcher-kva.example", desk.now)
    assert {(one.status, one.confirmed_at) for one in desk.rows(SubscriptionRow)} == {("active", desk.now)}
    assert [(one.subscriber_id, one.label) for one in desk.rows(LabelRow)] == [
        (ana.id, "city:Madrid"), (ana.id, "vip"),
    ]  # fmt: skip
    evidence = [(one.action, one.at, one.ip, one.form, one.evidence) for one in desk.rows(ConsentRow)]
    assert evidence == [
        ("imported", desk.now, "", "import", "readers.csv, line 2"),
        ("imported", datetime(2024, 5, 1, 10, tzinfo=UTC), "203.0.113.5", "import",
         "paper form 17 (readers.csv, line 4)"),
    ]  # fmt: skip
    assert desk.mails() == []


def test_running_it_again_changes_nothing(desk: Desk) -> None:
    lines = [f"r{n}@example.com,Reader {n},{'1' if n % 3 else ''}" for n in range(BATCH_ROWS * 2 + 7)]
    text = "email,name,vip\n" + "\n".join(lines)
    assert run(desk, text) == ImportResult(rows=len(lines), added=len(lines))
    before = desk.dump()
    desk.clock.advance(days=1)
    again = run(desk, text)
    assert (again.rows, again.added, again.unchanged) == (len(lines), 0, len(lines))
    assert desk.dump() == before


def test_what_the_file_says_anew_is_taken_and_what_it_leaves_empty_is_kept(desk: Desk) -> None:
    run(desk, "email,name,locale,press\nana@example.com,Ana,es,1\nbo@example.com,Bo,,\n")
    run(desk, "email,name,vip\nana@example.com,,1\nbo@example.com,Bo López,\n")
    ana, bo = desk.rows(SubscriberRow)
    assert (ana.name, ana.locale, bo.name) == ("Ana", "es", "Bo López")
    assert [one.label for one in desk.rows(LabelRow)] == ["press", "vip"]


def test_the_same_reader_twice_is_one(desk: Desk) -> None:
    rows = ["ana@example.com,Ana,a", "ANA@example.com,,b;a", "bo@example.com,Bo,", "ana@example.com,Ana L,c"]
    text = "\n".join(["email,name,labels", *rows])
    result = run(desk, text)
    assert (result.rows, result.added, result.unchanged) == (4, 2, 2)
    ana, _ = desk.rows(SubscriberRow)
    assert (ana.email, ana.name) == ("ana@example.com", "Ana L")
    assert [one.label for one in desk.rows(LabelRow)] == ["a", "b", "c"]
    assert len(desk.consents()) == 2


def test_who_left_stays_away_though_a_stranger_signed_them_up(desk: Desk) -> None:
    desk.sign_up("left@example.com")
    with desk.database.write() as connection:
        leave.leave(connection, KEYS, desk.token(Purpose.UNSUBSCRIBE), "", desk.now, one_click=True)
    desk.clock.advance(hours=1)
    desk.sign_up("left@example.com")
    result = run(desk, "email\nleft@example.com\n")
    assert result == ImportResult(rows=1, unsubscribed=1)
    assert desk.status(email="left@example.com") == ("pending", 1)


def test_who_left_stays_away_and_who_waits_is_let_in(desk: Desk) -> None:
    desk.sign_up("left@example.com")
    with desk.database.write() as connection:
        leave.leave(connection, KEYS, desk.token(Purpose.UNSUBSCRIBE), "", desk.now, one_click=True)
    desk.sign_up("waits@example.com")
    with desk.database.write() as connection:
        suppress(connection, parse_address("no@example.com"), EVERYBODY, SuppressionReason.COMPLAINT, "", desk.now)
    result = run(desk, "email\nleft@example.com\nwaits@example.com\nno@example.com\n")
    assert result == ImportResult(rows=3, added=2, unsubscribed=1, suppressed=1)
    assert desk.status(email="left@example.com") == ("unsubscribed", 0)
    assert desk.status(email="waits@example.com") == ("active", 0)
    assert [action for _, action in desk.consents()][-2:] == ["imported", "imported"]


def test_a_file_that_cannot_be_read_leaves_nothing_half_done(desk: Desk) -> None:
    text = "email,name\n" + "".join(f"r{n}@example.com,R\n" for n in range(BATCH_ROWS * 3))
    with pytest.raises(InvalidInput, match="not UTF-8"):
        run(desk, text.encode() + "x@example.com,López\n".encode("latin-1"))
    assert desk.rows(SubscriberRow) == []


def test_two_imports_and_sign_ups_at_once(desk: Desk) -> None:
    lines = [f"r{n}@example.com,Reader {n}" for n in range(BATCH_ROWS * 2)]
    failures: list[BaseException] = []

    def attempt(text: str) -> None:
        try:
            run(desk, text)
        except BaseException as error:
            failures.append(error)

    def sign_ups() -> None:
        try:
            for n in range(0, len(lines), 50):
                desk.sign_up(f"r{n}@example.com")
        except BaseException as error:
            failures.append(error)

    forward, backward = "\n".join(["email,name", *lines]), "\n".join(["email,name", *reversed(lines)])
    threads = [Thread(target=attempt, args=(one,)) for one in (forward, backward)] + [Thread(target=sign_ups)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert {status for status, _ in desk.standing().values()} == {"active"}
    assert len(desk.rows(SubscriberRow)) == len(lines)


def test_progress_is_told_after_each_transaction(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importer, "BATCH_ROWS", 2)
    told: list[int] = []
    text = "email\n" + "".join(f"r{n}@example.com\n" for n in range(5))
    into = replace(INTO, source="-")
    stream = io.BytesIO(text.encode())
    import_csv(desk.database, desk.clock, stream, into, lambda _: None, lambda one: told.append(one.added))
    assert told == [2, 4, 5]
