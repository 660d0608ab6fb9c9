"""Celery's scheduler and broker connection, where they would stop over what only needs patience."""

from __future__ import annotations

from typing import Any

from celery.beat import PersistentScheduler
from kombu.transport.redis import Channel, Transport
from redis.exceptions import ConnectionError as ConnectionLost


class SteadyScheduler(PersistentScheduler):  # type: ignore[misc]  # Celery carries no types
    """What has run in the future, as a clock that was set back makes it look, is not waited for until then.

    Celery compares wall times: set back by an hour, it would not ring the sweep for an hour, and everything that is
    due, lost or expired meanwhile would lie.
    """

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Seconds until the next."""
        for entry in self.schedule.values():
            now = entry.default_now()
            if entry.last_run_at > now:
                entry.last_run_at = now
                # when each is due next is kept in there, by the wrong clock
                self._heap = None
        wait: float = super().tick(*args, **kwargs)
        return wait


class _SteadyChannel(Channel):
    """Says that its connection is gone as everybody expects it: as a lost connection.

    What a worker has not acknowledged when its broker dies, kombu 5.7 wants to give back or acknowledge over a
    connection that was given up already, and fails with an AttributeError: the worker ended, with status 0.
    """

    def _connparams(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        if self.connection.client is None:
            raise ConnectionLost("this connection to the broker was given up")
        parameters: dict[str, Any] = super()._connparams(*args, **kwargs)  # type: ignore[no-untyped-call]
        return parameters


class SteadyTransport(Transport):
    """Redis, for workers that outlive it."""

    Channel = _SteadyChannel
