"""What each type of event leads to, in the event's own transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from worker.audience.addresses import parse_address
from worker.audience.changes import delete_subscriber, update_subscriber
from worker.audience.signup import Consent, SignUp, SignUpRules, sign_up
from worker.campaigns.opening import CampaignRules, Opened, open_campaign, unpublish
from worker.domain.errors import InvalidInput
from worker.domain.events import Event, EventType
from worker.domain.publication import Publication
from worker.intake.payloads import (
    ConsentGiven,
    PostPublished,
    PostUnpublished,
    SubscriberCreated,
    SubscriberDeleted,
    SubscriberUpdated,
    read_payload,
)

if TYPE_CHECKING:
    from sqlalchemy import Connection


# A publisher's clock may be ahead of ours by so much.
_CLOCKS_DIFFER = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Scene:
    """Where an effect takes place: the caller's transaction, and what it goes by."""

    connection: Connection
    publication: Publication
    now: datetime
    sign_ups: SignUpRules
    campaigns: CampaignRules


@dataclass(frozen=True, slots=True)
class Effect:
    """What came of an event, and what is to be rung after the commit."""

    note: str
    campaign_id: int | None = None
    subscriber_id: int | None = None
    deliveries: tuple[int, ...] = ()
    plan: bool = False
    tidy: bool = False


Act = Callable[[Scene], Effect]


def effect_of(event: Event) -> Act | None:
    """What is to be done, its data checked; None for a type that is not known. Raises `InvalidInput`."""
    reader = _READERS.get(event.type)
    return None if reader is None else reader(event.data)


def _post_published(data: Mapping[str, object]) -> Act:
    payload = read_payload(PostPublished, data)
    given = data["post"]
    assert isinstance(given, Mapping), "the payload has been read"
    # what was read, in one spelling, and beside it whatever a publication's own templates may want
    post = {**given, **payload.post.model_dump(mode="json")}

    def act(scene: Scene) -> Effect:
        slug = _list_of(scene.publication, payload.list)
        opened = open_campaign(
            scene.connection, scene.campaigns, scene.publication, payload.post.id, post, slug, payload.labels, scene.now
        )
        return _campaign_effect(opened)

    return act


def _post_unpublished(data: Mapping[str, object]) -> Act:
    post_id = read_payload(PostUnpublished, data).post.id

    def act(scene: Scene) -> Effect:
        opened = unpublish(scene.connection, scene.publication.slug, post_id, scene.now)
        return Effect("no campaign was made of this post") if opened is None else _campaign_effect(opened)

    return act


def _campaign_effect(opened: Opened) -> Effect:
    return Effect(opened.note, campaign_id=opened.campaign_id, plan=opened.ring, tidy=opened.tidy)


def _subscriber_created(data: Mapping[str, object]) -> Act:
    payload = read_payload(SubscriberCreated, data)
    address = parse_address(payload.subscriber.email, "data.subscriber.email")
    consent = payload.consent or ConsentGiven()
    if payload.confirmed and not (consent.at and (consent.ip or consent.form or consent.wording or consent.evidence)):
        raise InvalidInput.of(
            "data.consent",
            "`confirmed` needs evidence: `at` and one of `ip`, `form`, `wording`, `evidence`; or leave `confirmed` out",
        )

    def act(scene: Scene) -> Effect:
        if consent.at is not None and consent.at > scene.now + _CLOCKS_DIFFER:
            # it would outweigh every leaving until then
            raise InvalidInput.of("data.consent.at", "is in the future; give the time at which the reader consented")
        lists = _lists_of(scene.publication, payload.lists)
        result = sign_up(
            scene.connection, scene.sign_ups, scene.publication,
            SignUp(
                address=address, name=payload.subscriber.name, locale=payload.subscriber.locale, lists=lists,
                labels=tuple(payload.subscriber.labels), confirmed=payload.confirmed,
                consent=_consent(consent, scene.now),
            ),
            scene.now,
        )  # fmt: skip
        return Effect(result.note, subscriber_id=result.subscriber_id, deliveries=result.deliveries)

    return act


def _consent(given: ConsentGiven, now: datetime) -> Consent:
    return Consent(
        at=now if given.at is None else given.at, ip=given.ip, form=given.form, wording=given.wording,
        evidence=given.evidence,
    )  # fmt: skip


def _subscriber_updated(data: Mapping[str, object]) -> Act:
    change = read_payload(SubscriberUpdated, data).subscriber
    address = parse_address(change.email, "data.subscriber.email")
    new = None if change.new_email is None else parse_address(change.new_email, "data.subscriber.new_email")

    def act(scene: Scene) -> Effect:
        result = update_subscriber(
            scene.connection, scene.publication, address, new_address=new, name=change.name, locale=change.locale,
            labels=change.labels, now=scene.now,
        )  # fmt: skip
        return Effect(result.note, subscriber_id=result.subscriber_id)

    return act


def _subscriber_deleted(data: Mapping[str, object]) -> Act:
    address = parse_address(read_payload(SubscriberDeleted, data).subscriber.email, "data.subscriber.email")

    def act(scene: Scene) -> Effect:
        result = delete_subscriber(scene.connection, scene.publication, address, scene.now)
        return Effect(result.note, subscriber_id=result.subscriber_id)

    return act


_READERS: Mapping[str, Callable[[Mapping[str, object]], Act]] = {
    EventType.POST_PUBLISHED: _post_published,
    EventType.POST_UNPUBLISHED: _post_unpublished,
    EventType.SUBSCRIBER_CREATED: _subscriber_created,
    EventType.SUBSCRIBER_UPDATED: _subscriber_updated,
    EventType.SUBSCRIBER_DELETED: _subscriber_deleted,
}

KNOWN_TYPES = frozenset(_READERS)


def _list_of(publication: Publication, named: str | None) -> str:
    if named is not None:
        return _known(publication, named, "data.list")
    return _only_list(publication, "data.list")


def _lists_of(publication: Publication, named: list[str] | None) -> tuple[str, ...]:
    if named is None:
        return (_only_list(publication, "data.lists"),)
    # in their order, each once
    return tuple(dict.fromkeys(_known(publication, slug, f"data.lists.{n}") for n, slug in enumerate(named)))


def _known(publication: Publication, slug: str, field: str) -> str:
    if publication.list_named(slug) is None:
        raise InvalidInput.of(field, f"{publication.slug} has no list {slug!r}; it has {_slugs(publication)}")
    return slug


def _only_list(publication: Publication, field: str) -> str:
    if len(publication.lists) != 1:
        raise InvalidInput.of(field, f"is missing; {publication.slug} has {_slugs(publication)}")
    return publication.lists[0].slug


def _slugs(publication: Publication) -> str:
    return ", ".join(repr(one.slug) for one in publication.lists)
