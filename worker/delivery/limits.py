"""Which rate limits hold for a delivery."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from worker.delivery.throttling import Limit


@dataclass(frozen=True, slots=True)
class Limits:
    """All limits in force; what is not listed has none of its own."""

    overall: Limit | None
    transport: Limit | None
    publications: Mapping[str, Limit]
    destinations: Mapping[str, Limit]

    @property
    def names(self) -> list[str]:
        """Of all of them."""
        every = [self.overall, self.transport, *self.publications.values(), *self.destinations.values()]
        return [one.name for one in every if one is not None]

    def of(self, publication: str, destination: str) -> tuple[Limit, ...]:
        found = (
            self.overall, self.transport, self.publications.get(publication), self.destinations.get(destination),
        )  # fmt: skip
        return tuple(one for one in found if one is not None)
