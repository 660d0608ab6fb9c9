"""Bulk workers tell each other that they are up, over a real Redis."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from redis import Redis
from structlog.testing import capture_logs

from tests.servers import RedisServer, running_redis
from worker.crew import _KEY, SILENT_SECONDS, Crew, Member


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with running_redis() as running:
        yield running


@pytest.fixture
def client(server: RedisServer) -> Iterator[Redis]:
    with Redis.from_url(server.url, socket_timeout=0.3) as redis:
        redis.flushall()
        yield redis


def test_all_processes_of_all_workers_are_counted(client: Redis) -> None:
    crew = Crew(client)
    assert crew.processes() is None
    # two containers, or two folders of data on one machine, may call their workers the same
    for processes in (2, 3):
        member = Member(crew, "bulk@host", processes)
        member.beat()
        member.beat()
    assert crew.processes() == 5


def test_who_leaves_is_not_counted_any_more(client: Redis) -> None:
    crew = Crew(client)
    stays, goes = Member(crew, "bulk@one", 2), Member(crew, "bulk@two", 4)
    stays.beat()
    goes.beat()
    goes.leave()
    assert crew.processes() == 6
    # Celery's heart beats once more on the way out
    goes.beat()
    assert crew.processes() == 2


def test_who_is_silent_is_forgotten(client: Redis) -> None:
    crew = Crew(client)
    Member(crew, "bulk@dead", 4).beat()
    [(dead, until)] = client.zscan_iter(_KEY)
    Member(crew, "bulk@alive", 1).beat()
    assert crew.processes() == 5
    client.zadd(_KEY, {dead: until - SILENT_SECONDS})
    assert crew.processes() == 1
    Member(crew, "bulk@new", 1).beat()
    assert client.zcard(_KEY) == 2
    assert 0 < client.ttl(_KEY) <= SILENT_SECONDS


def test_a_beat_from_an_hour_ahead_is_no_sign_of_life(client: Redis) -> None:
    """Redis' clock was set back since."""
    crew = Crew(client)
    Member(crew, "bulk@dead", 4).beat()
    [(dead, until)] = client.zscan_iter(_KEY)
    client.zadd(_KEY, {dead: until + 3600})
    assert crew.processes() is None


def test_a_beat_while_they_are_counted_is_one(client: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the question for the time and the one for the members."""
    crew = Crew(client)
    asked = crew._now

    def slow() -> float:
        now = asked()
        monkeypatch.undo()
        Member(crew, "bulk@host", 2).beat()
        return now

    monkeypatch.setattr(crew, "_now", slow)
    assert crew.processes() == 2


def test_a_redis_that_hangs_or_is_away_says_nothing(server: RedisServer, client: Redis) -> None:
    crew = Crew(client)
    member = Member(crew, "bulk@host", 2)
    member.beat()
    os.kill(server.pid, signal.SIGSTOP)
    try:
        assert crew.processes() is None
        member.beat()
    finally:
        os.kill(server.pid, signal.SIGCONT)
    away = Crew(Redis(port=1, socket_timeout=0.3))
    assert away.processes() is None
    other = Member(away, "bulk@host", 2)
    with capture_logs() as logs:
        for _ in range(3):
            other.beat()
    assert [one["event"] for one in logs] == ["crew_not_told"], "once, not at each heartbeat"
