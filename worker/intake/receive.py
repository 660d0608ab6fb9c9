"""An event and what must happen next, committed in one transaction; the doorbell is rung after it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import TYPE_CHECKING

import structlog

from worker.audience.signup import SignUpRules
from worker.campaigns.opening import CampaignRules
from worker.domain.clock import Clock
from worker.domain.doorbell import Doorbell
from worker.domain.errors import Conflict, InvalidInput, NotFound
from worker.domain.events import Event, EventStatus
from worker.domain.publication import Publication
from worker.intake import queries
from worker.intake.effects import KNOWN_TYPES, Act, Effect, Scene, effect_of
from worker.intake.jsontext import canonical
from worker.storage.database import Database

if TYPE_CHECKING:
    from sqlalchemy import Connection

log = structlog.get_logger(__name__)

# What erasure leaves of an event's data (`audience.queries_erasing`).
ERASED = {"erased": True}


class ReceiptStatus(StrEnum):
    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True)
class Receipt:
    """The answer to an event. `id` is the event's own; `note` says in words what came of it."""

    id: str
    status: ReceiptStatus
    note: str


class Intake:
    """Takes events that are already known to be from their publication."""

    def __init__(
        self, database: Database, clock: Clock, doorbell: Doorbell, sign_ups: SignUpRules, campaigns: CampaignRules
    ) -> None:
        self._database = database
        self._clock = clock
        self._doorbell = doorbell
        self._sign_ups = sign_ups
        self._campaigns = campaigns

    def receive(self, publication: Publication, event: Event) -> Receipt:
        """Record the event with its effect, or find that it is on record.

        Raises `InvalidInput` (nothing was changed), `Conflict` where the same key came with another body,
        `DatabaseUnavailable`.
        """
        act = effect_of(event)
        now = self._clock.now()
        row = _row(publication, event, EventStatus.IGNORED if act is None else EventStatus.ACCEPTED, now)
        with self._database.write() as connection:
            row_id = queries.add_event(connection, row)
            if row_id is None:
                return _known(connection, publication, event, str(row["body_hash"]))
            effect = self._play(connection, publication, event, act, now)
            queries.conclude(connection, row_id, effect.note, effect.campaign_id, effect.subscriber_id)
        self._ring(effect)
        status = ReceiptStatus.IGNORED if act is None else ReceiptStatus.ACCEPTED
        log.info(
            f"event {status}", publication=publication.slug, event_id=event.id, event_type=event.type,
            campaign_id=effect.campaign_id, delivery_ids=effect.deliveries,
        )  # fmt: skip
        return Receipt(event.id, status, effect.note)

    def replay(self, publication: Publication, number: int) -> Receipt:
        """Let an event have its effect that led to nothing: its type was not known then, or its effect is missing.

        One that led to something is a `Conflict`, so nothing is doubled. Raises `NotFound` and `InvalidInput` too.
        """
        with self._database.write() as connection:
            row = queries.lock_event(connection, number)
            if row is None or row.publication != publication.slug:
                raise NotFound(f"there is no event {number}")
            if row.data == ERASED or (row.status == EventStatus.ACCEPTED and row.note):
                raise Conflict(f"event {number} has had its effect: {row.note or 'erased since'}")
            event = Event(row.event_id, row.source, row.type, row.data, row.occurred_at)
            act = effect_of(event)
            if act is None:
                raise Conflict(f"event {number}: type {row.type!r} is not known here; a newer Pressrun may know it")
            effect = self._play(connection, publication, event, act, self._clock.now())
            queries.accept(connection, number)
            queries.conclude(connection, number, effect.note, effect.campaign_id, effect.subscriber_id)
        self._ring(effect)
        log.info("event replayed", publication=publication.slug, number=number, campaign_id=effect.campaign_id)
        return Receipt(event.id, ReceiptStatus.ACCEPTED, effect.note)

    def _play(
        self, connection: Connection, publication: Publication, event: Event, act: Act | None, now: datetime
    ) -> Effect:
        if act is None:
            return Effect(f"type {event.type!r} is not known here; it is on record, and nothing follows from it")
        return act(Scene(connection, publication, now, self._sign_ups, self._campaigns))

    def _ring(self, effect: Effect) -> None:
        """A ring that fails must not fail the request: the event is committed, and the sweep rings again."""
        try:
            for delivery_id in effect.deliveries:
                self._doorbell.transactional(delivery_id)
            if effect.campaign_id is not None and effect.plan:
                self._doorbell.plan(effect.campaign_id)
            if effect.campaign_id is not None and effect.tidy:
                self._doorbell.tidy(effect.campaign_id)
        except Exception:
            log.warning("the doorbell could not be rung; the sweep will", exc_info=True)


def named_publication(publications: Mapping[str, Publication], event: Event) -> Publication:
    """The publication an event says it is for. Raises `InvalidInput` naming `data.publication`."""
    slug = event.data.get("publication")
    if slug is None:
        raise InvalidInput.of("data.publication", "is missing; it says which publication the event is for")
    if not isinstance(slug, str):
        raise InvalidInput.of("data.publication", "must be a string")
    found = publications.get(slug)
    if found is None:
        raise InvalidInput.of("data.publication", f"there is no publication {slug[:64]!r} here")
    return found


def check_publication(publications: Mapping[str, Publication], caller: Publication, event: Event) -> None:
    """Raise `InvalidInput` where an event is for another publication than its credential."""
    if event.type not in KNOWN_TYPES and event.data.get("publication") is None:
        # nothing follows from it, so nothing can go to the wrong place
        return
    if named_publication(publications, event).slug != caller.slug:
        raise InvalidInput.of("data.publication", f"must be {caller.slug!r}, whose token or secret came with the event")


def _row(publication: Publication, event: Event, status: EventStatus, now: datetime) -> dict[str, object]:
    return {
        "publication": publication.slug, "source": event.source, "event_id": event.id, "type": event.type,
        "occurred_at": event.time, "received_at": now, "body_hash": body_hash(event), "data": dict(event.data),
        "status": str(status),
    }  # fmt: skip


def body_hash(event: Event) -> str:
    """SHA-256 (hex) of what the event says. Extension attributes, such as a trace's id, may differ."""
    time = None if event.time is None else event.time.isoformat()
    said = {
        "id": event.id, "source": event.source, "type": event.type, "time": time, "subject": event.subject,
        "data": event.data,
    }  # fmt: skip
    return sha256(canonical(said)).hexdigest()


def _known(connection: Connection, publication: Publication, event: Event, digest: str) -> Receipt:
    found = queries.recorded(connection, publication.slug, event.source, event.id)
    if found.body_hash != digest:
        raise Conflict(
            f"event {event.id!r} from {event.source!r} is on record with another body; a new event needs a new id"
        )
    return Receipt(event.id, ReceiptStatus.DUPLICATE, found.note)

