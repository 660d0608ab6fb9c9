"""The doorbell: what rings the Celery tasks. It carries ids only, and a ring that fails changes nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

EVENTS, TRANSACTIONAL, BULK, MAINTENANCE = QUEUES = ("events", "transactional", "bulk", "maintenance")
KEY_PREFIX = "pressrun:"
"""Before the queues' names in Redis, which may serve others too."""


class Doorbell(Protocol):
    """Rung after the commit, never before. No method raises: the sweep finds what was not rung."""

    def transactional(self, delivery_id: int) -> None:
        """A transactional delivery is queued."""

    def plan(self, campaign_id: int) -> None:
        """A campaign has subscriptions still to be planned."""

    def bulk(self, slot: int, number: int, campaign_id: int) -> None:
        """It is this campaign's turn on that chain; doubles of a number drop out."""

    def tidy(self, campaign_id: int) -> None:
        """A cancelled or reopened campaign has rows to be moved, in slices."""

    def drop(self, campaign_id: int) -> None:
        """A campaign has been over for long enough: its deliveries go, in slices."""


@dataclass
class RecordingDoorbell:
    """The twin for tests: remembers the rings."""

    rings: list[tuple[object, ...]] = field(default_factory=list)

    def transactional(self, delivery_id: int) -> None:
        self.rings.append(("transactional", delivery_id))

    def plan(self, campaign_id: int) -> None:
        self.rings.append(("plan", campaign_id))

    def bulk(self, slot: int, number: int, campaign_id: int) -> None:
        self.rings.append(("bulk", slot, number, campaign_id))

    def tidy(self, campaign_id: int) -> None:
        self.rings.append(("tidy", campaign_id))

    def drop(self, campaign_id: int) -> None:
        self.rings.append(("drop", campaign_id))
