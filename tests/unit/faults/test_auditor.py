"""The auditor finds what is wrong: each way of cooking one of the books, and each excuse that holds."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest

from tests.faults.suite.auditor import audit
from tests.faults.suite.books import Books, Call, Campaign, Delivery, Receipt, calls
from tests.faults.suite.doubles import SET_FORWARD, UNWRITTEN
from tests.faults.suite.history import Halted, History, Killed, Stopped

INFINITE = float("inf")


def delivery(number: int = 1, status: str = "sent", **change: object) -> Delivery:
    one = Delivery(number, 7, "new_post", f"r{number}@example.com", "", status, "", f"<{number}@x>", ())
    return replace(one, **change)  # type: ignore[arg-type]


def receipt(number: int = 1, at: float = 100.0, **change: object) -> Receipt:
    one = Receipt(at, at - 0.1, at - 0.05, f"r{number}@example.com", f"<{number}@x>", "Sun, 9 Feb", 3, "250")
    return replace(one, **change)  # type: ignore[arg-type]


def campaign(status: str = "finished", post: str = "post-1", planned: frozenset[int] = frozenset({1})) -> Campaign:
    return Campaign(7, post, status, frozenset({1}), planned)


def books(*deliveries: Delivery, receipts: tuple[Receipt, ...] = (), **change: object) -> Books:
    """All that agrees: a finished campaign with one delivery, counted and received."""
    mine = deliveries or (delivery(),)
    history = History(events={"e": "post.published"})
    made = Books(history, frozenset({"e"}), frozenset(), (campaign(),), mine, receipts=receipts or (receipt(),))
    return replace(made, **change)  # type: ignore[arg-type]


def kinds(found: Books) -> list[str]:
    return [one.kind for one in audit(found).findings]


def test_books_that_agree() -> None:
    verdict = audit(books())
    assert verdict.findings == []
    assert verdict.doubles.total() == 0


@pytest.mark.parametrize(
    ("cooked", "kind"),
    [
        (books(events=frozenset()), "lost"),
        (books(receipts=(receipt(2),)), "lost"),
        (books(campaigns=(Campaign(7, "post-1", "finished", frozenset({1, 2}), frozenset({1})),)), "lost"),
        (books(delivery(status="bounced", reason="bad_address"), receipts=(receipt(2),)), "lost"),
        (books(delivery(status="suppressed"), receipts=(receipt(2),)), "lost"),
        (books(delivery(status="bounced")), "wrong"),
        (books(delivery(status="queued")), "stuck"),
        (books(delivery(status="sending")), "stuck"),
        (books(campaigns=(Campaign(7, "post-1", "sending", frozenset({1}), frozenset({1})),)), "stuck"),
        (books(leases=1), "stuck"),
        (books(receipts=(receipt(), receipt(9))), "wrong"),
        (books(receipts=(receipt(rcpt="victim@example.com"),)), "wrong"),
        (books(counted={(1, "sent", ""): 1}), "counters"),
        (books(receipts=(receipt(), receipt(at=101))), "doubled"),
        (books(receipts=(receipt(answer="cut"), receipt(at=101, date="Mon, 10 Feb"))), "doubled"),
        (books(history=History(refused={"e"})), "event"),
        (books(history=History(signed_up={"new@example.com"})), "lost"),
        (books(history=History(confirmed={"new@example.com"})), "event"),
        (books(campaigns=(campaign("failed"),), receipts=()), "lost"),
        (books(campaigns=(campaign("cancelled"),)), "wrong"),
        (books(history=History(posts={"post-1", "post-2"})), "lost"),
        (books(delivery(status="unknown", outcomes=("unknown",)), receipts=(receipt(answer="cut"),),
               history=History(released={1: 50.0})), "lost"),
        (books(delivery(status="failed", address="longname@example.com"), receipts=(receipt(2),)), "lost"),
        (books(history=History(halted=[Halted(97.0, INFINITE, "pause", "post-1")])), "late"),
        (books(history=History(halted=[Halted(97.0, INFINITE, "left", "post-1", "r1@example.com")])), "late"),
    ],
)  # fmt: skip
def test_what_does_not_agree_is_found(cooked: Books, kind: str) -> None:
    assert kind in kinds(cooked)


@pytest.mark.parametrize(
    "sound",
    [
        books(
            delivery(status="suppressed"), delivery(2), receipts=(receipt(2),), events=frozenset(),
            history=History(halted=[Halted(0.0, INFINITE, "left", "post-1", "r1@example.com")]),
        ),
        books(history=History(halted=[Halted(97.0, 99.0, "pause", "post-1")])),
        books(history=History(halted=[Halted(97.0, INFINITE, "pause", "post-2")])),
        books(history=History(halted=[Halted(97.0, INFINITE, "pause", "post-1")]), lags=[(100.0, 1.5)]),
        books(delivery(status="unknown", outcomes=("unknown",)), receipts=(receipt(answer="cut"),)),
        books(campaigns=(campaign("failed", "poison-deep", frozenset()),)),
        books(
            campaigns=(campaign("cancelled", "post-2", frozenset()),),
            history=History(halted=[Halted(200.0, INFINITE, "cancel", "post-2")]), events=frozenset(),
        ),
    ],
    ids=["left", "resumed", "another campaign", "read late", "held", "poison", "cancelled"],
)  # fmt: skip
def test_what_has_its_reason_is_none_of_it(sound: Books) -> None:
    assert kinds(sound) == []


KILLED = History(killed=[Killed(100.2, "a child", frozenset({5555}))])
ORPHANED = History(killed=[Killed(99.0, "bulk", frozenset({5555}), gone_at=100.5)])
OTHERS = History(killed=[Killed(99.0, "api", frozenset(), gone_at=100.5)])
FORWARD = History(set_forward=[Stopped(99.95, 99.95, "clock", frozenset({5555}))])
FULL = History(unwritable=[Stopped(100.0, 103.0, "a full disk", frozenset({5555}))])
STOPPED = History(stopped=[Stopped(100.0, 106.0, "child", frozenset({5555}))])
JUST_BEGUN = History(stopped=[Stopped(100.0, 106.0, "child", frozenset({5555}), frozenset({1}))])


@pytest.mark.parametrize(
    ("history", "first", "call", "cause"),
    [
        (History(), receipt(answer="cut"), Call(5555, 100.0, quit=False), "cut after the final dot"),
        (KILLED, receipt(), Call(5555, 100.2, quit=False), "conversation open at a kill"),
        (KILLED, receipt(), Call(6666, 100.2, quit=False), "unexplained"),
        (KILLED, receipt(), Call(5555, 100.2, quit=True), "unexplained"),
        (ORPHANED, receipt(), Call(6666, 100.4, quit=False), "conversation open at a kill"),
        (ORPHANED, receipt(), Call(5555, 100.4, quit=False), "conversation open at a kill"),
        (ORPHANED, receipt(), Call(6666, 100.4, quit=True), "unexplained"),
        (ORPHANED, receipt(), Call(6666, 101.1, quit=False), "unexplained"),
        (OTHERS, receipt(), Call(6666, 100.4, quit=False), "unexplained"),
        (ORPHANED, receipt(began=98.9), Call(6666, 100.4, quit=False), "unexplained"),
        (STOPPED, receipt(), Call(5555, 110.0, quit=True), "body begun in a process stopped past its lease"),
        (STOPPED, receipt(at=106.2, began=99.9, body_at=99.95), Call(5555, 110.0, quit=True),
         "body begun in a process stopped past its lease"),
        (STOPPED, receipt(at=106.2, began=99.9, body_at=106.1), Call(5555, 110.0, quit=True), "unexplained"),
        (JUST_BEGUN, receipt(at=106.2, began=99.9, body_at=106.1), Call(5555, 110.0, quit=True),
         "body begun in a process stopped past its lease"),
        (STOPPED, receipt(), Call(6666, 110.0, quit=True), "unexplained"),
        (History(released={1: 101.0}), receipt(), Call(1, 110.0, quit=True), "held as unknown and released by hand"),
        (History(journals_lost_at=[100.2]), receipt(), Call(1, 110.0, quit=True), "journal lost with its host"),
        (FORWARD, receipt(), Call(5555, 110.0, quit=True), SET_FORWARD),
        (FORWARD, receipt(), Call(6666, 110.0, quit=True), "unexplained"),
        (FORWARD, receipt(body_at=99.96), Call(5555, 110.0, quit=True), "unexplained"),
        (FULL, receipt(), Call(5555, 110.0, quit=True), UNWRITTEN),
        (FULL, receipt(), Call(6666, 110.0, quit=True), "unexplained"),
    ],
)  # fmt: skip
def test_a_double_is_counted_by_its_cause(history: History, first: Receipt, call: Call, cause: str) -> None:
    again = receipt(at=104.0, connection=4)
    found = books(receipts=(first, again), history=history, connections={3: call}, events=frozenset())
    assert audit(found).doubles == {cause: 1}


def test_a_connection_that_is_still_open_is_known_by_what_came_over_it() -> None:
    """The run was over before a process that had stood still closed it: two of a hundred runs had such a double."""
    took = {"event": "accepted", "connection": 3, "port": 5555}
    over = {"event": "closed", "at": 110.0, "connection": 4, "port": 6666, "quit": True}
    found = calls([took, took | {"connection": 4, "port": 6666}, over])
    assert found == {3: Call(5555, inf, quit=False), 4: Call(6666, 110.0, quit=True)}
    again = receipt(at=104.0, connection=4)
    told = books(receipts=(receipt(), again), history=STOPPED, connections=found, events=frozenset())
    assert audit(told).doubles == {"body begun in a process stopped past its lease": 1}


def test_a_kill_explains_one_message_a_connection() -> None:
    """The last that was taken over it; what came before had been answered and journalled."""
    received = (receipt(1, 100.0), receipt(2, 100.1), receipt(1, 104.0, connection=4), receipt(2, 104.0, connection=4))
    found = books(
        delivery(1), delivery(2), receipts=received, connections={3: Call(5555, 100.2, quit=False)}, history=KILLED,
        events=frozenset(),
    )  # fmt: skip
    assert audit(found).doubles == {"conversation open at a kill": 1, "unexplained": 1}


def test_a_release_explains_one_copy() -> None:
    received = (receipt(at=100.0), receipt(at=104.0, connection=4), receipt(at=105.0, connection=5))
    found = books(receipts=received, history=History(released={1: 101.0}), events=frozenset())
    assert audit(found).doubles == {"held as unknown and released by hand": 1, "unexplained": 1}


def test_a_clock_explains_what_was_open_at_that_moment() -> None:
    """Of fifty over one connection two: the one that was under way, and the one that was offered behind it."""
    early = [receipt(n, 99.7 + n / 100) for n in range(1, 51)]
    received = (*early, *(receipt(n, 110.0 + n, connection=4) for n in range(1, 51)))
    found = books(
        *map(delivery, range(1, 51)), receipts=received, connections={3: Call(5555, 120.0, quit=True)}, history=FORWARD,
        events=frozenset(),
    )  # fmt: skip
    assert audit(found).doubles == {SET_FORWARD: 2, "unexplained": 48}
