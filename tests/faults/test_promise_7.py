"""Promise 7: a bulk send of any size never delays a confirmation."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.faults.conftest import WORKERS
from tests.running import Running, post_event, signup_event
from tests.smtpd import SmtpServer


def test_confirmations_overtake_a_bulk_send_that_fills_its_limit(system: Callable[..., Running]) -> None:
    with SmtpServer() as server:
        running = system(server.url, "api", *WORKERS, PRESSRUN_LIMIT_PER_SECOND="100")
        running.import_readers(3000)
        running.emit(post_event())
        server.wait_for(lambda one: len(one.messages) > 50, 60)
        asked: dict[str, float] = {}
        with running.api() as api:
            for n in range(20):
                address = f"new{n}@example.com"
                asked[address] = time.time()
                assert api.post("/v1/events", json=signup_event(address)).status_code == 202
                time.sleep(0.1)
        server.wait_for(lambda one: sum(m.rcpt in asked for m in one.messages) == len(asked), 60)
        took = sorted(m.at - asked[m.rcpt] for m in list(server.messages) if m.rcpt in asked)
        assert running.counts()["queued"] > 1000, "the bulk send must still be going"
    # behind the bulk mail that waits for its turn, each would take half a minute; a busy machine may take its time
    assert took[len(took) // 2] < 1.0, took
    assert took[-1] < 5.0, took


def test_the_lane_goes_on_while_one_of_its_processes_stands_still(system: Callable[..., Running]) -> None:
    with SmtpServer() as server:
        running = system(server.url)
        running.emit(signup_event("first@example.com"))
        server.wait_for(lambda one: len(one.messages) == 1, 60)
        _, *children = running.family("transactional")
        children[0].suspend()
        try:
            running.emit(*(signup_event(f"new{n}@example.com") for n in range(5)))
            server.wait_for(lambda one: len(one.messages) == 6, 30)
        finally:
            children[0].resume()
