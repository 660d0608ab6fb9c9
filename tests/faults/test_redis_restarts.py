"""A Redis that goes away and comes back is met by the same processes."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from tests.running import Running, post_event
from tests.servers import RedisServer
from tests.smtpd import SmtpServer


@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_worker_outlives_its_broker(system: Callable[..., Running], own_redis: RedisServer) -> None:
    """Tasks are under way when it dies; Celery cannot give them back then, and used to end over it, with status 0."""
    with SmtpServer() as server:
        running = system(server.url, PRESSRUN_LIMIT_PER_SECOND="40")
        running.import_readers(200)
        running.emit(post_event())
        server.wait_for(lambda one: len(one.messages) > 20, 60)
        before = running.family("bulk")[0]
        own_redis.stop(signal.SIGKILL)
        own_redis.start()
        running.wait_sent(200)
        assert before.is_running()
        assert "Unrecoverable" not in running.log("bulk")
        assert len(server.messages) == 200
