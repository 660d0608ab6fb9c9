"""Rate limits: the same for all workers together. `RedisLimiter` for real, `InMemoryLimiter` for one process."""

from worker.delivery.throttling.base import Grant, Limit, Limiter, LimiterUnavailable, LimitState
from worker.delivery.throttling.memory import InMemoryLimiter
from worker.delivery.throttling.pauses import PauseTable
from worker.delivery.throttling.redis import RedisLimiter
from worker.delivery.throttling.shaping import Destination, Shaping

__all__ = [
    "Destination", "Grant", "InMemoryLimiter", "Limit", "LimitState", "Limiter", "LimiterUnavailable", "PauseTable",
    "RedisLimiter", "Shaping",
]  # fmt: skip
