"""Managing: a reader sees all lists of the publication and chooses among them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from worker.audience import queries
from worker.audience.links import Holder, holder_of
from worker.domain.audience import ConsentAction, SubscriptionStatus
from worker.domain.publication import Publication
from worker.domain.tokens import KeyRing, Purpose

_FORM = "manage page"
_Status = SubscriptionStatus


@dataclass(frozen=True, slots=True)
class Choices:
    """A reader's standing at one publication: the status by list, None for a list never joined."""

    publication: str
    email: str
    lists: dict[str, SubscriptionStatus | None]


def look(connection: Connection, keys: KeyRing, token: str, publication: Publication) -> Choices | None:
    """None for a token that is not genuine, of another publication or of an erased reader. Changes nothing."""
    holder = holder_of(connection, keys, token, Purpose.MANAGE)
    return None if holder is None or holder.publication != publication.slug else _choices(holder, publication)


def publication_of(connection: Connection, keys: KeyRing, token: str) -> str | None:
    """The publication a manage link belongs to; None for a token that is not genuine."""
    holder = holder_of(connection, keys, token, Purpose.MANAGE)
    return None if holder is None else holder.publication


def choose(
    connection: Connection, keys: KeyRing, token: str, publication: Publication, wanted: Collection[str], ip: str,
    now: datetime,
) -> Choices | None:  # fmt: skip
    """Make `wanted` the lists the reader is on: joined at once, since the link came by mail to that mailbox.

    A list that is asked for and waits for its confirmation is active with it; one not in `wanted` is left.
    """
    holder = holder_of(connection, keys, token, Purpose.MANAGE, lock=True)
    if holder is None or holder.publication != publication.slug:
        return None
    leaving = [one.id for one in holder.subscriptions.values()
               if one.list_slug not in wanted and one.status != _Status.UNSUBSCRIBED]  # fmt: skip
    joined = [_join(connection, holder, one.slug, now) for one in publication.lists if one.slug in wanted]
    joining = [one for one in joined if one is not None]
    queries.unsubscribe(connection, leaving, now)
    queries.add_consents(connection, leaving, ConsentAction.WITHDRAWN, now, ip=ip, form=_FORM)
    queries.add_consents(connection, joining, ConsentAction.CONFIRMED, now, ip=ip, form=_FORM)
    return look(connection, keys, token, publication)


def _join(connection: Connection, holder: Holder, list_slug: str, now: datetime) -> int | None:
    """The id of the subscription that became active; None where it was."""
    found = holder.subscriptions.get(list_slug)
    if found is None:
        reader = holder.subscriber
        return queries.add_subscription(connection, reader.publication, reader.id, list_slug, _Status.ACTIVE, now)
    if found.status == _Status.ACTIVE:
        return None
    if found.status == _Status.PENDING:
        queries.activate(connection, [found.id], now)
    else:
        queries.come_back(connection, found.id, _Status.ACTIVE, now)
    return int(found.id)


def _choices(holder: Holder, publication: Publication) -> Choices:
    standing = {slug: _Status(one.status) for slug, one in holder.subscriptions.items()}
    return Choices(
        publication.slug, holder.subscriber.email, {one.slug: standing.get(one.slug) for one in publication.lists}
    )
