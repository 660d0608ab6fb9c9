"""Leaving: one click, at once, for ever."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from worker.audience import queries
from worker.audience.links import Holder, holder_of, manage_token
from worker.domain.audience import ConsentAction, SubscriptionStatus
from worker.domain.tokens import KeyRing, Purpose

_ONE_CLICK = "one-click (RFC 8058)"
_PAGE = "unsubscribe page"


@dataclass(frozen=True, slots=True)
class Membership:
    """What an unsubscribe link is about, as it stands."""

    publication: str
    list_slug: str
    email: str
    left: bool
    manage_token: str


def look(connection: Connection, keys: KeyRing, token: str) -> Membership | None:
    """None for a token that is not genuine or whose reader is erased. Changes nothing."""
    holder = holder_of(connection, keys, token, Purpose.UNSUBSCRIBE)
    return None if holder is None else _membership(keys, holder, _has_left(holder))


def leave(
    connection: Connection, keys: KeyRing, token: str, ip: str, now: datetime, *, one_click: bool
) -> Membership | None:
    """End the one subscription that the link names (RFC 8058 §3.2). A second time changes nothing."""
    holder = holder_of(connection, keys, token, Purpose.UNSUBSCRIBE, lock=True)
    if holder is None:
        return None
    if not _has_left(holder):
        queries.unsubscribe(connection, [holder.named.id], now)
        queries.add_consents(
            connection, [holder.named.id], ConsentAction.WITHDRAWN, now, ip=ip, form=_ONE_CLICK if one_click else _PAGE
        )
    return _membership(keys, holder, True)


def _has_left(holder: Holder) -> bool:
    return bool(holder.named.status == SubscriptionStatus.UNSUBSCRIBED)


def _membership(keys: KeyRing, holder: Holder, left: bool) -> Membership:
    return Membership(
        holder.publication, holder.named.list_slug, holder.subscriber.email, left, manage_token(keys, holder)
    )
