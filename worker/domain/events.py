"""Events: facts from a publisher, CloudEvents 1.0."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class EventType(StrEnum):
    SUBSCRIBER_CREATED = "subscriber.created"
    SUBSCRIBER_UPDATED = "subscriber.updated"
    SUBSCRIBER_DELETED = "subscriber.deleted"
    POST_PUBLISHED = "post.published"
    POST_UNPUBLISHED = "post.unpublished"


class EventStatus(StrEnum):
    ACCEPTED = "accepted"
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True)
class Event:
    """One CloudEvent whose envelope has been checked; `data` is still the publisher's."""

    id: str
    source: str
    type: str
    data: Mapping[str, object]
    time: datetime | None = None
    subject: str | None = None
