"""Promise 1: an event answered with 2xx is never lost, whatever dies next; the same event again changes nothing."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable

import pytest

from tests.faults.conftest import WORKERS
from tests.running import Running, post_event, signup_event
from tests.servers import RedisServer
from tests.smtpd import SmtpServer


def test_everything_killed_right_after_the_answer(system: Callable[..., Running], own_redis: RedisServer) -> None:
    """Not even the doorbell survives: Redis is wiped, and the sweep finds what is to be done."""
    with SmtpServer() as server:
        running = system(server.url, "api")
        running.import_readers(3)
        with running.api() as api:
            answers = [api.post("/v1/events", json=event).status_code for event in both()]
        running.kill("api")
        own_redis.stop(signal.SIGKILL)
        for folder in own_redis.folder.rglob("appendonlydir"):
            shutil.rmtree(folder)
        own_redis.start()
        running.start(*WORKERS)
        running.wait_sent(4)
        subjects = sorted(one.rcpt for one in server.messages)
    assert answers == [202, 202]
    assert subjects == ["new@example.com", "reader0@example.com", "reader1@example.com", "reader2@example.com"]


@pytest.mark.parametrize("backend", ["postgresql"])
def test_redis_down_while_publishing(system: Callable[..., Running], own_redis: RedisServer) -> None:
    with SmtpServer() as server:
        running = system(server.url, "api")
        running.import_readers(3)
        own_redis.stop()
        with running.api() as api:
            answers = [api.post("/v1/events", json=event).status_code for event in both()]
        own_redis.start()
        running.start(*WORKERS)
        running.wait_sent(4)
        received = len(server.messages)
    assert answers == [202, 202]
    assert received == 4


@pytest.mark.parametrize("backend", ["sqlite"])
def test_redis_frozen_while_publishing(system: Callable[..., Running], own_redis: RedisServer) -> None:
    """A frozen broker takes connections and answers nothing; the publisher has an answer all the same."""
    with SmtpServer() as server:
        running = system(server.url, "api")
        running.import_readers(1)
        with running.api() as api:
            own_redis.freeze()
            try:
                answer = api.post("/v1/events", json=post_event(), timeout=5)
            finally:
                own_redis.thaw()
        assert answer.status_code == 202
        running.start(*WORKERS)
        running.wait_sent(1)


def both() -> list[dict[str, object]]:
    return [signup_event("new@example.com"), post_event()]
