"""The tables, typed. Each index names the question it answers at ten million deliveries.

Statuses and reasons are stored as the words of `worker.domain`; the domain's tables judge them.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from worker.storage.types import BigKey, UtcDateTime

# Named constraints can be dropped by a migration on every database.
_NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


# Queries repeat these words: SQLite uses a partial index only where it finds its own condition again.
GOING = "status IN ('planning', 'sending')"
# A cancelled campaign that has not come to rest still has rows to be cancelled; one that is open again
# but was at rest still has rows to be put back. Nothing else needs to remember it.
UNTIDY = (
    "(status = 'cancelled' AND finished_at IS NULL)"
    " OR (status IN ('planning', 'sending', 'paused') AND finished_at IS NOT NULL)"
)
# Where a delivery is unless something came in its way. Whoever asks for the others has an index for them; these are
# found by the spans of their slices, so that a mail that goes its way is written into no index for being listed.
ASIDE = "status NOT IN ('queued', 'sending', 'sent', 'delivered')"
# After a database went back in time nothing goes out; but a confirmation asked for since then is no double.
HELD = "EXISTS (SELECT 1 FROM ledger WHERE held_at IS NOT NULL)"
HELD_TRANSACTIONAL = "EXISTS (SELECT 1 FROM ledger WHERE held_at >= deliveries.created_at)"


# Ids that are known outside (links, Message-IDs, journals, publishers) jump ahead after a restore. Without it, SQLite
# goes on from the largest that is there.
_NEVER_TWICE = {"sqlite_autoincrement": True}


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=_NAMES)
    type_annotation_map = {datetime: UtcDateTime, dict[str, Any]: JSON, list[str]: JSON}  # noqa: RUF012


def _where(name: str, *columns: str, where: str) -> Index:
    """A partial index: small, since it only holds the rows that are still of interest."""
    return Index(name, *columns, postgresql_where=text(where), sqlite_where=text(where))


class EventRow(Base):
    """A fact from a publisher. `(publication, source, event_id)` is its idempotency key."""

    __tablename__ = "events"
    __table_args__ = (UniqueConstraint("publication", "source", "event_id"), Index(None, "received_at"))

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    publication: Mapped[str] = mapped_column(String(64))
    source: Mapped[str] = mapped_column(String(512))
    event_id: Mapped[str] = mapped_column(String(256))
    type: Mapped[str] = mapped_column(String(256))
    occurred_at: Mapped[datetime | None]
    received_at: Mapped[datetime]
    body_hash: Mapped[str] = mapped_column(String(64))
    """SHA-256 (hex) of the canonical event: the same key with another body is a conflict."""
    data: Mapped[dict[str, Any]]
    status: Mapped[str] = mapped_column(String(16))
    note: Mapped[str] = mapped_column(Text, default="")
    campaign_id: Mapped[int | None] = mapped_column(ForeignKey("campaigns.id"))
    subscriber_id: Mapped[int | None] = mapped_column(ForeignKey("subscribers.id"), index=True)


class SubscriberRow(Base):
    """A person at one publication. `address` is the normalised key, `email` what is written to."""

    __tablename__ = "subscribers"
    __table_args__ = (UniqueConstraint("publication", "address"), Index(None, "address"))

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    publication: Mapped[str] = mapped_column(String(64))
    address: Mapped[str] = mapped_column(String(320))
    email: Mapped[str] = mapped_column(String(320))
    domain: Mapped[str] = mapped_column(String(255))
    """The domain as A-label: what rate limits go by."""
    name: Mapped[str] = mapped_column(Text, default="")
    locale: Mapped[str] = mapped_column(String(35), default="")
    created_at: Mapped[datetime]
    erased_at: Mapped[datetime | None]


class LabelRow(Base):
    """A word a publisher ties to a subscriber; campaigns choose by it."""

    __tablename__ = "subscriber_labels"

    subscriber_id: Mapped[int] = mapped_column(ForeignKey("subscribers.id"), primary_key=True)
    label: Mapped[str] = mapped_column(String(128), primary_key=True)


class SubscriptionRow(Base):
    """The tie of a subscriber to a list. A new `generation` makes every earlier link worthless."""

    __tablename__ = "subscriptions"
    __table_args__ = (
        UniqueConstraint("subscriber_id", "list_slug"),
        # the planner's keyset walk over one audience
        _where("ix_subscriptions_audience", "publication", "list_slug", "id", where="status = 'active'"),
        _NEVER_TWICE,
    )

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    publication: Mapped[str] = mapped_column(String(64))
    list_slug: Mapped[str] = mapped_column(String(64))
    subscriber_id: Mapped[int] = mapped_column(ForeignKey("subscribers.id"))
    status: Mapped[str] = mapped_column(String(16))
    generation: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime]
    confirmed_at: Mapped[datetime | None]
    unsubscribed_at: Mapped[datetime | None]


class ConsentRow(Base):
    """Append-only evidence: when, from where, by which form and wording."""

    __tablename__ = "consents"
    __table_args__ = (Index(None, "subscription_id"), Index(None, "ip", "at"))

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    subscription_id: Mapped[int] = mapped_column(ForeignKey("subscriptions.id"))
    action: Mapped[str] = mapped_column(String(16))
    at: Mapped[datetime]
    ip: Mapped[str] = mapped_column(String(45), default="")
    form: Mapped[str] = mapped_column(Text, default="")
    wording: Mapped[str] = mapped_column(Text, default="")
    evidence: Mapped[str] = mapped_column(Text, default="")


class SuppressionRow(Base):
    """An address that must not be written to; publication `*` means by nobody."""

    __tablename__ = "suppressions"

    address: Mapped[str] = mapped_column(String(320), primary_key=True)
    publication: Mapped[str] = mapped_column(String(64), primary_key=True)
    reason: Mapped[str] = mapped_column(String(16))
    evidence: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime]


class CampaignRow(Base):
    """One post going out. `(publication, post_id)` is unique, whatever the event id."""

    __tablename__ = "campaigns"
    __table_args__ = (
        UniqueConstraint("publication", "post_id"),
        # campaigns an hour
        Index(None, "publication", "released_at"),
        # when a publication was last served, whichever campaign it was
        Index(None, "publication", "served_at"),
        # what the bulk workers choose among; it covers the choice, so that no post is read for it
        _where("ix_campaigns_going", "publication", "served_at", "rests_until", "id", where=GOING),
        # whose rows are still to be moved after a cancel or a reopening
        _where("ix_campaigns_untidy", "id", where=UNTIDY),
        _NEVER_TWICE,
    )

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    publication: Mapped[str] = mapped_column(String(64))
    post_id: Mapped[str] = mapped_column(String(256))
    list_slug: Mapped[str] = mapped_column(String(64))
    labels: Mapped[list[str]]
    """The audience is cut down to subscribers with any of these; empty: the whole list."""
    status: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime]
    released_at: Mapped[datetime]
    """When it began to count against the publication's campaigns an hour: at once, or on release; while it is
    held, a time that never comes."""
    plan_cursor: Mapped[int] = mapped_column(BigInteger, default=0)
    """Subscriptions up to this id are planned."""
    plan_until: Mapped[int] = mapped_column(BigInteger, default=0)
    """The last subscription id when the post was published: who joins later is not written to."""
    planned_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    """When its rows came to rest. It also tells what is still to be moved: see `UNTIDY`."""
    served_at: Mapped[datetime | None]
    """When a bulk worker last took a turn for it: turns go round by publication, then campaign."""
    rests_until: Mapped[datetime | None]
    """Its limits leave no use in a turn before."""
    post: Mapped[dict[str, Any]]
    """The event's `data.post`; it stays as it is once planning has begun. Last, since SQLite reads through what is
    large to reach what stands behind it."""


class SliceRow(Base):
    """What deliveries are counted by: one planned slice, or one shard of a transactional kind."""

    __tablename__ = "slices"
    __table_args__ = (
        # a campaign's deliveries, from any id on
        Index(None, "campaign_id", "last_id"),
        UniqueConstraint("publication", "kind", "shard", name="uq_slices_shard"),
    )

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    publication: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(32))
    campaign_id: Mapped[int | None] = mapped_column(ForeignKey("campaigns.id"))
    shard: Mapped[int | None]
    """Transactional kinds are spread over shards, so that no counter is hot; NULL for a planned slice."""
    first_id: Mapped[int | None] = mapped_column(BigInteger)
    last_id: Mapped[int | None] = mapped_column(BigInteger)
    """Between which ids its deliveries are, others' perhaps among them: where to look for a campaign's rows, in order.
    NULL for a shard, and where the deliveries were dropped: then the counts are all that is left."""
    planned_at: Mapped[datetime | None]
    """The `created_at` of its deliveries; NULL for a shard."""


class TallyRow(Base):
    """How many deliveries of a slice stand at a status, for a reason. Moved in the move's own transaction."""

    __tablename__ = "tallies"

    slice_id: Mapped[int] = mapped_column(ForeignKey("slices.id"), primary_key=True)
    status: Mapped[str] = mapped_column(String(16), primary_key=True)
    reason: Mapped[str] = mapped_column(String(32), primary_key=True)
    n: Mapped[int] = mapped_column(BigInteger)


class LeaseRow(Base):
    """One claim: who holds it and until when. Its id is the fencing token and is never used twice."""

    __tablename__ = "leases"
    __table_args__ = _NEVER_TWICE

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    owner: Mapped[str] = mapped_column(String(128))
    """`host:journal-name`: whose journal is to be read before the claim is taken over."""
    claimed_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    warmup_day_id: Mapped[int | None] = mapped_column(BigInteger)
    """The counter its rows were taken from, for what comes back unsent; NULL where the domain is not warming up."""


class DeliveryRow(Base):
    """One message for one recipient: the unit of state and of uniqueness.

    Without foreign keys: on PostgreSQL each would be looked up and locked for each planned row, two thirds of what
    planning took, and a reader's row with it for as long as the slice lasts. Rows are made from the rows they name;
    campaigns and slices are never deleted, and a subscriber or subscription that is not there (any more) ends a mail
    at its claim.
    """

    __tablename__ = "deliveries"
    __table_args__ = (
        CheckConstraint("(status = 'sending') = (lease_id IS NOT NULL)", name="lease_while_sending"),
        # Two index entries for each planned row, by `id` and by `dedupe_key`, and one for as long as it is queued: on
        # PostgreSQL every further one would be written three times a mail.
        # the claim: the oldest queued row of a campaign for one destination
        _where("ix_deliveries_queued", "campaign_id", "destination", "id", where="status = 'queued'"),
        # transactional mail: its claim, its lists, and what of it is old
        _where("ix_deliveries_transactional", "status", "id", where="campaign_id IS NULL"),
        # recovery: what a lease still holds
        _where("ix_deliveries_lease", "lease_id", where="lease_id IS NOT NULL"),
        # the sweep: what is due
        _where("ix_deliveries_due", "next_attempt_at", where="status = 'deferred'"),
        # expiry of transactional mail that never got its turn
        _where("ix_deliveries_expiring", "expires_at", where="expires_at IS NOT NULL AND status = 'queued'"),
        # what did not simply go its way: `deliveries --campaign --status`, control in slices, keyset by id
        _where("ix_deliveries_aside", "campaign_id", "status", "id", where=ASIDE),
        # list-bombing limits; only transactional rows, so a million-row campaign adds nothing
        _where("ix_deliveries_address", "address", "created_at", where="campaign_id IS NULL"),
        # erasure, for transactional mail alone: a campaign's mail to a reader is found by its dedupe key
        _where("ix_deliveries_subscriber", "subscriber_id", where="campaign_id IS NULL"),
        _NEVER_TWICE,
    )

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    publication: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(32))
    campaign_id: Mapped[int | None] = mapped_column(BigKey)
    slice_id: Mapped[int] = mapped_column(BigKey)
    subscriber_id: Mapped[int | None] = mapped_column(BigKey)
    subscription_id: Mapped[int | None] = mapped_column(BigKey)
    address: Mapped[str] = mapped_column(String(320))
    """What is written to. Kept here, since a reader may change the address and this mail still went there."""
    destination: Mapped[str] = mapped_column(String(64), default="")
    """The group of `shaping.toml` that the address' domain belongs to; empty: no limit of its own."""
    dedupe_key: Mapped[str] = mapped_column(String(200), unique=True)
    shows_campaign_id: Mapped[int | None] = mapped_column(BigKey)
    """A test mail's: whose post it shows. It goes the transactional way and is not counted for the campaign."""
    status: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str] = mapped_column(String(32), default="")
    lease_id: Mapped[int | None] = mapped_column(BigInteger)
    claims: Mapped[int] = mapped_column(default=0)
    """Claims that ended without an outcome; a row that kills its worker again and again is stopped by it."""
    attempts: Mapped[int] = mapped_column(default=0)
    first_attempt_at: Mapped[datetime | None]
    last_attempt_at: Mapped[datetime | None]
    next_attempt_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    code: Mapped[int | None]
    enhanced: Mapped[str] = mapped_column(String(16), default="")
    reply: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime]


class WarmupDayRow(Base):
    """Mails that a sending domain has offered on a day (UTC) of its warm-up.

    By lane, bulk or transactional: who sends a confirmation never waits for a bulk claim's row.
    """

    __tablename__ = "warmup_days"
    __table_args__ = (UniqueConstraint("domain", "day", "lane"),)

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    domain: Mapped[str] = mapped_column(String(255))
    day: Mapped[date]
    lane: Mapped[str] = mapped_column(String(16))
    used: Mapped[int] = mapped_column(BigInteger)


class AttemptRow(Base):
    """One try, kept for every delivery that did not go through at first try."""

    __tablename__ = "attempts"
    __table_args__ = (Index(None, "delivery_id"),)

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    delivery_id: Mapped[int] = mapped_column(ForeignKey("deliveries.id"))
    at: Mapped[datetime]
    outcome: Mapped[str] = mapped_column(String(16))
    code: Mapped[int | None]
    enhanced: Mapped[str] = mapped_column(String(16), default="")
    reply: Mapped[str] = mapped_column(Text, default="")
    duration_ms: Mapped[int]


class SlotRow(Base):
    """One bulk chain. Only the first task to arrive with the newest number runs; every double drops out."""

    __tablename__ = "bulk_slots"

    slot: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    rung: Mapped[int] = mapped_column(BigInteger, default=0)
    started: Mapped[int] = mapped_column(BigInteger, default=0)
    touched_at: Mapped[datetime]


class RetryRow(Base):
    """An operator's retry of a campaign that is not through its rows yet. A table of its own, since a column behind the
    post would be slow to read on SQLite."""

    __tablename__ = "retries"

    campaign_id: Mapped[int] = mapped_column(ForeignKey("campaigns.id"), primary_key=True, autoincrement=False)
    statuses: Mapped[list[str]]
    """Whose rows are still to be queued again, in this order."""
    cursor: Mapped[int] = mapped_column(BigInteger, default=0)
    """Of the first of them, rows up to this id are done: one that fails again meanwhile is not taken twice."""


class LedgerRow(Base):
    """The one row about this ledger itself: how far it has come, so that a copy of yesterday's can be told from it."""

    __tablename__ = "ledger"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    identity: Mapped[str] = mapped_column(String(32))
    """Drawn when the row is made: another ledger has another."""
    mark: Mapped[int] = mapped_column(BigInteger)
    """Moves on with each sweep, never back: Unix seconds, or one more than before where the clock is behind."""
    cleared: Mapped[int] = mapped_column(BigInteger)
    """What is remembered elsewhere up to this mark has been answered for, by a first start or a release."""
    swept_at: Mapped[datetime]
    """When the last sweep was through."""
    held_at: Mapped[datetime | None]
    """Sending is held since then."""
    held_why: Mapped[str] = mapped_column(Text, default="")
    chains: Mapped[int | None]
    """How many chains of bulk turns go round: as many as all bulk workers together have processes for."""
