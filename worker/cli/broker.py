"""Whether Redis answers, in words that name the setting and the fix."""

from __future__ import annotations

from worker.domain.errors import TemporaryError
from worker.settings import Settings


def redis_trouble(settings: Settings, timeout: float) -> str:
    """Why Redis does not answer within `timeout` seconds, and what to do about it; empty where it does."""
    from worker.embedded import wait_for_redis

    try:
        wait_for_redis(settings.redis, timeout)
    except TemporaryError as error:
        if settings.redis_url:
            return f"PRESSRUN_REDIS_URL: {error}; start that server, or correct the URL"
        return f"{error}; `pressrun up` starts the embedded one, or set PRESSRUN_REDIS_URL to one that runs"
    return ""
