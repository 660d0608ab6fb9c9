"""Celery's scheduler, on a wall clock that may be set."""

from __future__ import annotations

from typing import Any

from celery.beat import PersistentScheduler


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
