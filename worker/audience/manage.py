"""Managing: a reader sees all lists of the publication and chooses among them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from worker.audience import queries
from worker.audience.links import Holder, holder_of
from worker.audience.queries import AnyRow
from worker.domain.audience import ConsentAction, SubscriptionStatus
from worker.domain.errors import InvalidInput
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

    A list that waits for its confirmation goes on waiting unless it is wanted.
    """
    holder = _mine(connection, keys, token, publication)
    if holder is None:
        return None
    leaving = [one for one in holder.with_status(_Status.ACTIVE)
               if publication.list_named(one.list_slug) and one.list_slug not in wanted]  # fmt: skip
    _leave(connection, leaving, ip, now)
    _join(connection, holder, [one.slug for one in publication.lists if one.slug in wanted], ip, now)
    return look(connection, keys, token, publication)


def join(
    connection: Connection, keys: KeyRing, token: str, publication: Publication, list_slug: str, ip: str, now: datetime
) -> Choices | None:
    """Join one list, at once; the others stay as they are. Raises `InvalidInput` for a list that is not there."""
    if publication.list_named(list_slug) is None:
        raise InvalidInput.of("list", f"{publication.slug} has no such list")
    holder = _mine(connection, keys, token, publication)
    if holder is None:
        return None
    _join(connection, holder, [list_slug], ip, now)
    return look(connection, keys, token, publication)


def leave_all(
    connection: Connection, keys: KeyRing, token: str, publication: Publication, ip: str, now: datetime
) -> Choices | None:
    """Leave every list, those that wait for a confirmation too."""
    holder = _mine(connection, keys, token, publication)
    if holder is None:
        return None
    _leave(connection, holder.with_status(_Status.ACTIVE, _Status.PENDING), ip, now)
    return look(connection, keys, token, publication)


def _mine(connection: Connection, keys: KeyRing, token: str, publication: Publication) -> Holder | None:
    holder = holder_of(connection, keys, token, Purpose.MANAGE, lock=True)
    return None if holder is None or holder.publication != publication.slug else holder


def _leave(connection: Connection, leaving: Sequence[AnyRow], ip: str, now: datetime) -> None:
    ids = [one.id for one in leaving]
    queries.unsubscribe(connection, ids, now)
    queries.add_consents(connection, ids, ConsentAction.WITHDRAWN, now, ip=ip, form=_FORM)


def _join(connection: Connection, holder: Holder, slugs: Sequence[str], ip: str, now: datetime) -> None:
    joined = [one for slug in slugs if (one := _joined(connection, holder, slug, now)) is not None]
    queries.add_consents(connection, joined, ConsentAction.CONFIRMED, now, ip=ip, form=_FORM)


def _joined(connection: Connection, holder: Holder, list_slug: str, now: datetime) -> int | None:
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
