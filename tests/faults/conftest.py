"""Whole systems over a real Redis and a real SMTP server, on both databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.running import Running, running
from tests.servers import RedisServer, running_redis

WORKERS = ("transactional", "bulk", "scheduler")


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A Redis of this test's own, to be stopped, frozen and wiped."""
    with running_redis() as server:
        yield server


@pytest.fixture
def system(
    tmp_path: Path, own_redis: RedisServer, empty_database_url: str
) -> Iterator[Callable[..., Running]]:
    """`system(smtp_url, *parts, PRESSRUN_…="…")`: a running Pressrun over this test's database."""
    with ExitStack() as stack:

        def start(smtp_url: str, *parts: str, **environ: str) -> Running:
            base = {
                "PRESSRUN_REDIS_URL": own_redis.url,
                "PRESSRUN_DATABASE_URL": empty_database_url,
                "PRESSRUN_SMTP_URL": smtp_url,
            }
            return stack.enter_context(running(tmp_path, base | environ, parts or WORKERS))

        yield start
