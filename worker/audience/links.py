"""From a link's token to the reader behind it.

Only confirmation links look at the generation and at the clock: they die with the life of the subscription they were
made for. Unsubscribe and manage links work for ever, whatever happened in between; a reader's way out is never closed.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from worker.audience import queries
from worker.audience.queries import AnyRow
from worker.domain.audience import SubscriptionStatus
from worker.domain.tokens import Claim, KeyRing, Purpose


@dataclass(frozen=True, slots=True)
class Holder:
    """The reader a genuine link was made for."""

    claim: Claim
    subscriber: AnyRow
    subscriptions: dict[str, AnyRow]
    """All of theirs, by list."""
    named: AnyRow
    """The subscription that the link names."""

    @property
    def publication(self) -> str:
        return str(self.subscriber.publication)

    def with_status(self, *statuses: SubscriptionStatus) -> list[AnyRow]:
        return [one for one in self.subscriptions.values() if one.status in statuses]


def holder_of(
    connection: Connection, keys: KeyRing, token: str, purpose: Purpose, *, lock: bool = False
) -> Holder | None:
    """None for a token that is not genuine, or whose reader is erased. `lock`: to change something."""
    claim = keys.read(token, purpose)
    if claim is None:
        return None
    subscriber = queries.holder(connection, claim.subscription_id, lock=lock)
    if subscriber is None:
        return None
    # read after the lock was had: another POST of the same link may just have changed them
    found = queries.subscriptions(connection, subscriber.id)
    named = next(one for one in found if one.id == claim.subscription_id)
    return Holder(claim, subscriber, {one.list_slug: one for one in found}, named)


def manage_token(keys: KeyRing, holder: Holder) -> str:
    """For a page that was reached by another genuine link of the same reader."""
    claim = Claim(Purpose.MANAGE, holder.named.id, holder.named.generation, holder.claim.issued)
    return keys.sign(claim)
