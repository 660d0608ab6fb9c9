"""What stands before a next hop for all workers together: breakers, and the connections it may have at once."""

from worker.delivery.gates.base import BreakerStore, GatesUnavailable, Leases, breaker_object
from worker.delivery.gates.board import Breakers
from worker.delivery.gates.memory import InMemoryBreakers, InMemoryLeases
from worker.delivery.gates.redis import RedisBreakers, RedisLeases

__all__ = [
    "BreakerStore", "Breakers", "GatesUnavailable", "InMemoryBreakers", "InMemoryLeases", "Leases", "RedisBreakers",
    "RedisLeases", "breaker_object",
]  # fmt: skip
