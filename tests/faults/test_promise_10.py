"""Promise 10: no secret, token or address in logs, task arguments or error pages."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable

import httpx
import pytest
from redis import Redis

from tests.faults.conftest import WORKERS
from tests.running import TOKEN, Running, post_event, signup_event, wait_until
from tests.servers import RedisServer, free_port
from tests.smtpd import Rule, SmtpServer
from worker.domain.doorbell import KEY_PREFIX, QUEUES

FLOWER = ("pressrun", "a password for flower")
KEYS = [f"{KEY_PREFIX}{queue}" for queue in QUEUES]
SECRETS = (TOKEN, "a key for tests", "hunter2", FLOWER[1])


@pytest.mark.parametrize("backend", ["sqlite"])
def test_nothing_leaks(system: Callable[..., Running], own_redis: RedisServer) -> None:
    """Accepted and refused mail, a wrong token and a broken body: then everything written is read."""
    with SmtpServer([Rule("rcpt", reply="550 5.1.1 no such user here", rcpt="reader1@example.com")]) as server:
        flower_port = str(free_port())
        running = system(
            server.url, "api", "flower", PRESSRUN_FLOWER_PORT=flower_port, PRESSRUN_FLOWER_PASSWORD=FLOWER[1]
        )
        running.import_readers(5)
        flower = httpx.Client(base_url=f"http://127.0.0.1:{flower_port}", auth=FLOWER, timeout=20)
        wait_until(lambda: _answers(flower), 60, lambda: running.log("flower"))
        with running.api() as api, Redis.from_url(own_redis.url, decode_responses=True) as redis:
            api.post("/v1/events", json=signup_event("private@example.com"))
            api.post("/v1/events", json=post_event())
            refused = api.post("/v1/events", json={}, headers={"Authorization": "Bearer hunter2"})
            broken = api.post("/v1/events", content=b"{", headers={"Content-Type": "application/cloudevents+json"})
            # nobody takes them yet
            wait_until(lambda: sum(map(redis.llen, KEYS)) >= 2, 30)
            queued = [_readable(task) for key in KEYS for task in redis.lrange(key, 0, -1)]
            running.start(*WORKERS)
            running.wait_sent(5)
            wait_until(lambda: len(flower.get("/api/tasks").json()) > len(queued), 30)
            shown = [flower.get(page).text for page in ("/api/tasks", "/tasks", "/api/workers")]
        flower.close()
        for part in WORKERS:
            running.stop(part)
    assert any("chunk" in task or "plan" in task for task in queued), queued
    logs = "".join(running.log(part) for part in ("api", "flower", *WORKERS))
    assert refused.status_code == 401
    assert broken.status_code == 422
    for text in (logs, *queued, *shown, refused.text, broken.text):
        assert not any(secret in text for secret in SECRETS)
        assert not re.search(r"(reader\d|private)@example\.com", text)
        assert not re.search(r"/(confirm|unsubscribe|manage)/[A-Za-z0-9_-]{20}", text)


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/api/workers").status_code == 200
    except httpx.TransportError:
        return False


def _readable(task: str) -> str:
    """A message of Celery's with its body as it is read."""
    message = json.loads(task)
    return f"{task} {base64.b64decode(message['body']).decode()}"
