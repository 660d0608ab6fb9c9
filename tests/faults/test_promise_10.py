"""Promise 10: no secret, token or address in logs, task arguments or error pages."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from redis import Redis

from tests.faults.conftest import WORKERS
from tests.running import TOKEN, Running, post_event, signup_event
from tests.servers import RedisServer
from tests.smtpd import Rule, SmtpServer

SECRETS = (TOKEN, "a key for tests", "hunter2")


@pytest.mark.parametrize("backend", ["sqlite"])
def test_nothing_leaks(system: Callable[..., Running], own_redis: RedisServer) -> None:
    """Accepted and refused mail, a wrong token and a broken body: then everything written is read."""
    with SmtpServer([Rule("rcpt", reply="550 5.1.1 no such user here", rcpt="reader1@example.com")]) as server:
        running = system(server.url, "api", *WORKERS)
        running.import_readers(5)
        with running.api() as api:
            api.post("/v1/events", json=signup_event("private@example.com"))
            api.post("/v1/events", json=post_event())
            refused = api.post("/v1/events", json={}, headers={"Authorization": "Bearer hunter2"})
            broken = api.post("/v1/events", content=b"{", headers={"Content-Type": "application/cloudevents+json"})
        running.wait_sent(5)
        monitor = Redis.from_url(own_redis.url, decode_responses=True)
        queued = [str(monitor.dump(key)) for key in monitor.scan_iter()]
        monitor.close()
        for part in WORKERS:
            running.stop(part)
    logs = "".join(running.log(part) for part in ("api", *WORKERS))
    assert refused.status_code == 401
    assert broken.status_code == 422
    for text in (logs, *queued, refused.text, broken.text):
        assert not any(secret in text for secret in SECRETS)
        assert not re.search(r"(reader\d|private)@example\.com", text)
        assert not re.search(r"/(confirm|unsubscribe|manage)/[A-Za-z0-9_-]{20}", text)
