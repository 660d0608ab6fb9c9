"""Which bulk workers are up, on whatever machines: each says so in Redis as often as Celery's heart beats.

The ledger's number of chains follows them. It is a hint like every other in Redis: where none is to be had, that number
stays as it was.
"""

from __future__ import annotations

from typing import cast
from uuid import uuid4

import structlog
from redis import Redis
from redis.exceptions import RedisError

log = structlog.get_logger(__name__)

_KEY = "pressrun:bulk-workers"

# Five heartbeats of Celery's: who is silent for longer has died, or is as good as dead.
SILENT_SECONDS = 10.0


class Crew:
    """The bulk workers that were heard of lately. The client must have socket timeouts."""

    def __init__(self, client: Redis) -> None:
        self._redis = client
        self._warned = False

    def processes(self) -> int | None:
        """How many processes they send with, together; None where Redis does not say, or was emptied just now."""
        try:
            now = self._now()
            # Far ahead: by a clock that was set back since, and no sign of life. Not all that is ahead of `now`, for
            # somebody may have beaten since.
            heard = cast("list[bytes]", self._redis.zrangebyscore(_KEY, f"({now}", now + 2 * SILENT_SECONDS))
        except (RedisError, OSError) as error:
            log.warning("crew_unknown", error=type(error).__name__)
            return None
        return sum(int(member.rpartition(b":")[2]) for member in heard) or None

    def heard(self, member: str) -> None:
        """`member` is up."""
        try:
            now = self._now()
            with self._redis.pipeline(transaction=False) as pipe:
                pipe.zremrangebyscore(_KEY, "-inf", now)
                pipe.zadd(_KEY, {member: now + SILENT_SECONDS})
                pipe.expire(_KEY, round(SILENT_SECONDS))
                pipe.execute()
            self._warned = False
        except (RedisError, OSError) as error:
            self._warn(error)

    def left(self, member: str) -> None:
        """`member` takes no more tasks."""
        try:
            self._redis.zrem(_KEY, member)
        except (RedisError, OSError) as error:
            self._warn(error)

    def _warn(self, error: Exception) -> None:
        """Once for as long as it lasts, not at each heartbeat."""
        if not self._warned:
            log.warning("crew_not_told", error=type(error).__name__)
        self._warned = True

    def _now(self) -> float:
        seconds, micros = self._redis.time()
        return float(seconds) + float(micros) / 1e6


class Member:
    """One bulk worker's word to the others; for its main process, between two of whose heartbeats it is said."""

    def __init__(self, crew: Crew, name: str, processes: int) -> None:
        """`processes`: how many of its own may be busy with turns at once."""
        self._crew = crew
        # two that have the same name, in two containers or with two folders of data, are two
        self._member = f"{name}:{uuid4().hex}:{processes}"
        self._leaving = False

    def beat(self) -> None:
        if self._leaving:
            self._crew.left(self._member)
        else:
            self._crew.heard(self._member)

    def leave(self) -> None:
        """From a signal handler, which may stand in the middle of a beat: the last beat says it."""
        self._leaving = True
