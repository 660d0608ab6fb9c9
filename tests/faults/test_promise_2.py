"""Promise 2: one delivery per campaign and subscriber, however often anything is replayed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from tests.running import Running, post_event, signup_event
from tests.smtpd import SmtpServer


def test_everything_replayed(system: Callable[..., Running]) -> None:
    with SmtpServer() as server:
        running = system(server.url)
        running.import_readers(40)
        first = running.emit(signup_event("new@example.com"), post_event())
        running.wait_sent(41)
        again = running.emit(signup_event("new@example.com"), post_event(), post_event(event_id="another-id"))
        running.import_readers(40)
        again += running.emit(signup_event("new@example.com"), post_event())
        running.emit(post_event("post-2"))
        running.wait_sent(41 + 40)
        received = Counter(one.rcpt for one in server.messages)
    assert first.count("accepted") == 2
    assert again.count("duplicate") == 4
    assert received.pop("new@example.com") == 1
    assert set(received.values()) == {2}
    assert running.counts() == {"sent": 81}
