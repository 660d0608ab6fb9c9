"""What a source is: it knows its system's signature and turns a webhook into an event."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from worker.domain.events import Event
from worker.domain.publication import Publication


@dataclass(frozen=True, slots=True)
class Webhook:
    """A request as it came. Header names in lower case; `now` and `tolerance` in seconds."""

    headers: Mapping[str, str]
    body: bytes
    list: str | None
    """What the address of the webhook says with `?list=`, for publications with several."""
    now: float
    tolerance: float


Source = Callable[[Publication, Webhook], Event]
"""Raises `Unauthorised` for a signature that is missing, stale or forged, `InvalidInput` naming the field."""
