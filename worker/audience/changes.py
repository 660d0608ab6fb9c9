"""What a publisher says about its readers: changed, or gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from worker.audience import queries
from worker.audience.addresses import Address
from worker.domain.audience import ConsentAction, SubscriptionStatus
from worker.domain.errors import Conflict
from worker.domain.publication import Publication

_UNKNOWN = "no such subscriber: nothing changed"


@dataclass(frozen=True, slots=True)
class Changed:
    """`subscriber_id` is None where the publication has no such subscriber. `note` names no address."""

    subscriber_id: int | None
    note: str


def update_subscriber(
    connection: Connection, publication: Publication, address: Address, *, new_address: Address | None,
    name: str | None, locale: str | None, labels: Sequence[str] | None, now: datetime,
) -> Changed:  # fmt: skip
    """Change what is given; None leaves it as it is, labels are replaced as a whole.

    Raises `Conflict` where another subscriber of the publication has the new address. Mail that is queued
    already still goes to the old one; subscriptions stay, since the publisher vouches for both.
    """
    # in order, so that two who swap their addresses at the same time do not wait for each other
    for key in sorted({address.address, *([] if new_address is None else [new_address.address])}):
        queries.lock_sign_up(connection, key, "")
    found = queries.subscriber(connection, publication.slug, address.address)
    if found is None:
        return Changed(None, _UNKNOWN)
    values = {key: value for key, value in (("name", name), ("locale", locale)) if value is not None}
    if new_address is not None:
        other = queries.subscriber(connection, publication.slug, new_address.address)
        if other is not None and other.id != found.id:
            raise Conflict("data.subscriber.new_email: another subscriber of this publication has this address")
        values |= {"email": new_address.email, "address": new_address.address, "domain": new_address.domain}
    changed = {key: value for key, value in values.items() if value != getattr(found, key)}
    queries.change_subscriber(connection, found.id, changed)
    if labels is not None:
        queries.replace_labels(connection, found.id, labels)
    return Changed(found.id, _told([*changed, *([] if labels is None else ["labels"])]))


def _told(changed: list[str]) -> str:
    shown = [key for key in changed if key not in ("address", "domain")]
    return f"changed: {', '.join(shown)}" if changed else "nothing changed"


def delete_subscriber(connection: Connection, publication: Publication, address: Address, now: datetime) -> Changed:
    """Unsubscribe them from everything (`subscriber.deleted`). What is on record stays; `erase` removes that."""
    queries.lock_sign_up(connection, address.address, "")
    found = queries.subscriber(connection, publication.slug, address.address)
    if found is None:
        return Changed(None, _UNKNOWN)
    going = [one for one in queries.subscriptions(connection, found.id)
             if one.status != SubscriptionStatus.UNSUBSCRIBED]  # fmt: skip
    queries.unsubscribe(connection, [one.id for one in going], now)
    queries.add_consents(
        connection, [one.id for one in going], ConsentAction.WITHDRAWN, now, form="publisher",
        evidence="subscriber.deleted",
    )  # fmt: skip
    return Changed(found.id, f"unsubscribed from {', '.join(one.list_slug for one in going) or 'nothing'}")
