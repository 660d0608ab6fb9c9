"""Ghost's webhooks: `X-Ghost-Signature: sha256=<hex>, t=<ms>`, posts and members as Ghost's own objects."""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Mapping
from hashlib import sha256

from worker.domain.errors import InvalidInput
from worker.domain.events import Event, EventType
from worker.domain.publication import Publication
from worker.intake.jsontext import BODY, parse_json
from worker.intake.signatures import Unauthorised
from worker.intake.sources.base import Webhook

_HEADER = "x-ghost-signature"
_SIGNATURE = re.compile(r"sha256=([0-9a-f]{64}),\s*t=([0-9]{1,14})")

Object = Mapping[str, object]


def ghost_event(publication: Publication, webhook: Webhook) -> Event:
    """One event out of Ghost's request. A redelivery makes the same event, id and all."""
    check_signature(publication, webhook)
    body = parse_json(webhook.body)
    if not isinstance(body, dict):
        raise InvalidInput.of(BODY, "must be one JSON object: a webhook of Ghost")
    name = _name(body)
    translate = _TRANSLATIONS.get(name, _untranslated)
    return translate(publication, webhook, name, body)


def check_signature(publication: Publication, webhook: Webhook) -> None:
    """HMAC-SHA256 over the raw body and the digits of `t`; older Ghosts sign the body alone.

    Raises `Unauthorised`.
    """
    if not publication.ghost_secrets:
        raise Unauthorised(_HEADER, f"{publication.slug} has no secret for Ghost; the operator has to set one")
    found = _SIGNATURE.fullmatch(webhook.headers.get(_HEADER, "").strip())
    if found is None:
        raise Unauthorised(_HEADER, "is missing or malformed; give Ghost's webhook a secret, so that it signs")
    digest, milliseconds = found.groups()
    if not _matches(publication, digest, webhook.body, milliseconds):
        raise Unauthorised(_HEADER, "no known secret signed these bytes; compare the secret in Ghost's webhook")
    age = webhook.now - int(milliseconds) / 1000
    if abs(age) > webhook.tolerance:
        raise Unauthorised(_HEADER, f"the signature is {age:.0f} s old, {webhook.tolerance:g} s are allowed")


def _matches(publication: Publication, digest: str, body: bytes, milliseconds: str) -> bool:
    found = False
    for secret in publication.ghost_secrets:
        for content in (body + milliseconds.encode("ascii"), body):
            found |= hmac.compare_digest(hmac.digest(secret.encode(), content, sha256).hex(), digest)
    return found


def _name(body: Object) -> str:
    """The event's name. Ghost itself leaves it out: then what was and what is tell it."""
    given = body.get("event")
    if isinstance(given, str):
        return given
    if "post" in body:
        was, now = (_part(body, "post", time).get("status") for time in ("previous", "current"))
        if now == "published" and was != "published":
            return "post.published"
        return "post.unpublished" if was == "published" and now in ("draft", "scheduled") else "post.edited"
    if "member" in body:
        current, previous = (_part(body, "member", time) for time in ("current", "previous"))
        if not current:
            return "member.deleted"
        return "member.edited" if previous else "member.added"
    return "unknown"


def _post_published(publication: Publication, webhook: Webhook, name: str, body: Object) -> Event:
    post = _part(body, "post", "current")
    visibility = post.get("visibility", "public")
    if visibility not in ("public", "members"):
        # the list does not know who pays: sent to all, it would be given away
        return _untranslated(publication, webhook, f"{name}.{str(visibility)[:32]}", body)
    data: dict[str, object] = {
        "publication": publication.slug,
        "post": {
            "id": post.get("id"),
            "title": post.get("title"),
            "url": post.get("url"),
            "html": post.get("html"),
            "excerpt": _first(post, "custom_excerpt", "excerpt"),
            "image": post.get("feature_image"),
            "image_alt": post.get("feature_image_alt"),
            "published_at": post.get("published_at"),
            "tags": [one.get("name") for one in _objects(post.get("tags"))],
            "authors": [
                {"name": one.get("name"), "image": one.get("profile_image"), "url": one.get("url")}
                for one in _objects(post.get("authors"))
            ],
        },
    }
    if webhook.list is not None:
        data["list"] = webhook.list
    return _event(publication, EventType.POST_PUBLISHED, _post_key(name, post), data)


def _post_unpublished(publication: Publication, _webhook: Webhook, name: str, body: Object) -> Event:
    post = _part(body, "post", "current")
    data = {"publication": publication.slug, "post": {"id": post.get("id")}}
    return _event(publication, EventType.POST_UNPUBLISHED, _post_key(name, post), data)


def _member_added(publication: Publication, webhook: Webhook, name: str, body: Object) -> Event:
    """Ghost fires it after its own confirmation, so the reader is active and gets no second one."""
    member = _part(body, "member", "current")
    data: dict[str, object] = {
        "publication": publication.slug,
        "subscriber": {
            "email": member.get("email"),
            "name": member.get("name"),
            "labels": [one.get("name") for one in _objects(member.get("labels"))],
        },
        "consent": {
            "at": member.get("created_at"),
            "form": "ghost",
            "evidence": f"Ghost member {str(member.get('id'))[:64]}, confirmed at Ghost",
        },
        "confirmed": True,
    }
    if webhook.list is not None:
        data["lists"] = [webhook.list]
    return _event(publication, EventType.SUBSCRIBER_CREATED, f"{name}:{member.get('id')}", data)


def _member_deleted(publication: Publication, _webhook: Webhook, name: str, body: Object) -> Event:
    member = _part(body, "member", "previous")
    data = {"publication": publication.slug, "subscriber": {"email": member.get("email")}}
    return _event(publication, EventType.SUBSCRIBER_DELETED, f"{name}:{member.get('id')}", data)


def _untranslated(publication: Publication, webhook: Webhook, name: str, _body: Object) -> Event:
    """Nothing follows from it; it is recorded as ignored, without Ghost's data, which nobody needs."""
    digest = sha256(webhook.body).hexdigest()
    return _event(publication, f"ghost.{name[:200]}", f"{name[:100]}:{digest}", {"publication": publication.slug})


_TRANSLATIONS: Mapping[str, Callable[[Publication, Webhook, str, Object], Event]] = {
    "post.published": _post_published,
    "post.unpublished": _post_unpublished,
    "member.added": _member_added,
    "member.deleted": _member_deleted,
}


def _event(publication: Publication, type_: str, key: str, data: Object) -> Event:
    return Event(id=f"ghost:{key}"[:256], source=f"urn:ghost:{publication.slug}", type=str(type_), data=data)


def _post_key(name: str, post: Object) -> str:
    """Stable over redeliveries; a post that is published again has been updated in between."""
    return ":".join(str(part)[:64] for part in (name, post.get("id"), post.get("published_at"), post.get("updated_at")))


def _part(body: Object, kind: str, time: str) -> Object:
    whole = body.get(kind)
    part = whole.get(time) if isinstance(whole, Mapping) else None
    if part is None and time == "previous":
        return {}
    if not isinstance(part, Mapping):
        raise InvalidInput.of(f"{kind}.{time}", "must be an object, as Ghost sends it")
    return part


def _first(post: Object, *names: str) -> object:
    return next((post[name] for name in names if post.get(name)), None)


def _objects(value: object) -> list[Object]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []
