"""The first tables."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# What these columns were when this was written; the models may move on.
_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)

_GOING = "status IN ('planning', 'sending')"
_UNTIDY = (
    "(status = 'cancelled' AND finished_at IS NULL)"
    " OR (status IN ('planning', 'sending', 'paused') AND finished_at IS NOT NULL)"
)


def upgrade() -> None:
    _bulk_slots()
    _campaigns()
    _leases()
    _subscribers()
    _suppressions()
    _events()
    _slices()
    _subscriber_labels()
    _subscriptions()
    _consents()
    _deliveries()
    _tallies()
    _attempts()


def downgrade() -> None:
    for table in (
        "attempts", "tallies", "deliveries", "consents", "subscriptions", "subscriber_labels", "slices",
        "events", "suppressions", "subscribers", "leases", "campaigns", "bulk_slots",
    ):
        op.drop_table(table)


def _column(name: str, kind: sa.types.TypeEngine[Any]) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False)


def _index(name: str, table: str, columns: list[str], where: str | None = None) -> None:
    condition = None if where is None else sa.text(where)
    op.create_index(name, table, columns, postgresql_where=condition, sqlite_where=condition)


def _bulk_slots() -> None:
    op.create_table(
        "bulk_slots",
        sa.Column("slot", sa.Integer(), nullable=False, autoincrement=False), _column("rung", sa.BigInteger()),
        _column("started", sa.BigInteger()), _column("touched_at", _TIME),
        sa.PrimaryKeyConstraint("slot", name="pk_bulk_slots"),
    )


def _campaigns() -> None:
    op.create_table(
        "campaigns",
        _column("id", _KEY), _column("publication", sa.String(64)), _column("post_id", sa.String(256)),
        _column("list_slug", sa.String(64)), _column("labels", sa.JSON()), _column("status", sa.String(16)),
        _column("reason", sa.Text()), _column("created_at", _TIME), _column("released_at", _TIME),
        _column("plan_cursor", sa.BigInteger()), _column("plan_until", sa.BigInteger()),
        sa.Column("planned_at", _TIME), sa.Column("started_at", _TIME), sa.Column("finished_at", _TIME),
        sa.Column("served_at", _TIME), sa.Column("rests_until", _TIME), _column("post", sa.JSON()),
        sa.PrimaryKeyConstraint("id", name="pk_campaigns"),
        sa.UniqueConstraint("publication", "post_id", name="uq_campaigns_publication_post_id"),
    )
    _index("ix_campaigns_going", "campaigns", ["publication", "served_at", "rests_until", "id"], _GOING)
    _index("ix_campaigns_publication_released_at", "campaigns", ["publication", "released_at"])
    _index("ix_campaigns_publication_served_at", "campaigns", ["publication", "served_at"])
    _index("ix_campaigns_untidy", "campaigns", ["id"], _UNTIDY)


def _leases() -> None:
    op.create_table(
        "leases",
        _column("id", _KEY), _column("owner", sa.String(128)), _column("claimed_at", _TIME),
        _column("expires_at", _TIME),
        sa.PrimaryKeyConstraint("id", name="pk_leases"),
        sqlite_autoincrement=True,
    )


def _subscribers() -> None:
    op.create_table(
        "subscribers",
        _column("id", _KEY), _column("publication", sa.String(64)), _column("address", sa.String(320)),
        _column("email", sa.String(320)), _column("domain", sa.String(255)), _column("name", sa.Text()),
        _column("locale", sa.String(35)), _column("created_at", _TIME), sa.Column("erased_at", _TIME),
        sa.PrimaryKeyConstraint("id", name="pk_subscribers"),
        sa.UniqueConstraint("publication", "address", name="uq_subscribers_publication_address"),
    )
    _index("ix_subscribers_address", "subscribers", ["address"])


def _suppressions() -> None:
    op.create_table(
        "suppressions",
        _column("address", sa.String(320)), _column("publication", sa.String(64)), _column("reason", sa.String(16)),
        _column("evidence", sa.Text()), _column("created_at", _TIME),
        sa.PrimaryKeyConstraint("address", "publication", name="pk_suppressions"),
    )


def _events() -> None:
    op.create_table(
        "events",
        _column("id", _KEY), _column("publication", sa.String(64)), _column("source", sa.String(512)),
        _column("event_id", sa.String(256)), _column("type", sa.String(256)), sa.Column("occurred_at", _TIME),
        _column("received_at", _TIME), _column("body_hash", sa.String(64)), _column("data", sa.JSON()),
        _column("status", sa.String(16)), _column("note", sa.Text()), sa.Column("campaign_id", _KEY),
        sa.Column("subscriber_id", _KEY),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
        sa.UniqueConstraint("publication", "source", "event_id", name="uq_events_publication_source_event_id"),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaigns.id"], name="fk_events_campaign_id_campaigns"),
        sa.ForeignKeyConstraint(["subscriber_id"], ["subscribers.id"], name="fk_events_subscriber_id_subscribers"),
    )
    _index("ix_events_received_at", "events", ["received_at"])
    _index("ix_events_subscriber_id", "events", ["subscriber_id"])


def _slices() -> None:
    op.create_table(
        "slices",
        _column("id", _KEY), _column("publication", sa.String(64)), _column("kind", sa.String(32)),
        sa.Column("campaign_id", _KEY), sa.Column("shard", sa.Integer()),
        sa.PrimaryKeyConstraint("id", name="pk_slices"),
        sa.UniqueConstraint("publication", "kind", "shard", name="uq_slices_shard"),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaigns.id"], name="fk_slices_campaign_id_campaigns"),
    )
    _index("ix_slices_campaign_id", "slices", ["campaign_id"])


def _subscriber_labels() -> None:
    op.create_table(
        "subscriber_labels",
        _column("subscriber_id", _KEY), _column("label", sa.String(128)),
        sa.PrimaryKeyConstraint("subscriber_id", "label", name="pk_subscriber_labels"),
        sa.ForeignKeyConstraint(
            ["subscriber_id"], ["subscribers.id"], name="fk_subscriber_labels_subscriber_id_subscribers"
        ),
    )


def _subscriptions() -> None:
    op.create_table(
        "subscriptions",
        _column("id", _KEY), _column("publication", sa.String(64)), _column("list_slug", sa.String(64)),
        _column("subscriber_id", _KEY), _column("status", sa.String(16)), _column("generation", sa.Integer()),
        _column("created_at", _TIME), sa.Column("confirmed_at", _TIME), sa.Column("unsubscribed_at", _TIME),
        sa.PrimaryKeyConstraint("id", name="pk_subscriptions"),
        sa.UniqueConstraint("subscriber_id", "list_slug", name="uq_subscriptions_subscriber_id_list_slug"),
        sa.ForeignKeyConstraint(
            ["subscriber_id"], ["subscribers.id"], name="fk_subscriptions_subscriber_id_subscribers"
        ),
    )
    _index("ix_subscriptions_audience", "subscriptions", ["publication", "list_slug", "id"], "status = 'active'")


def _consents() -> None:
    op.create_table(
        "consents",
        _column("id", _KEY), _column("subscription_id", _KEY), _column("action", sa.String(16)), _column("at", _TIME),
        _column("ip", sa.String(45)), _column("form", sa.Text()), _column("wording", sa.Text()),
        _column("evidence", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_consents"),
        sa.ForeignKeyConstraint(
            ["subscription_id"], ["subscriptions.id"], name="fk_consents_subscription_id_subscriptions"
        ),
    )
    _index("ix_consents_ip_at", "consents", ["ip", "at"])
    _index("ix_consents_subscription_id", "consents", ["subscription_id"])


def _deliveries() -> None:
    op.create_table(
        "deliveries",
        _column("id", _KEY), _column("publication", sa.String(64)), _column("kind", sa.String(32)),
        sa.Column("campaign_id", _KEY), _column("slice_id", _KEY), sa.Column("subscriber_id", _KEY),
        sa.Column("subscription_id", _KEY), _column("address", sa.String(320)), _column("destination", sa.String(64)),
        _column("dedupe_key", sa.String(200)), sa.Column("shows_campaign_id", _KEY), _column("status", sa.String(16)),
        _column("reason", sa.String(32)), sa.Column("lease_id", sa.BigInteger()), _column("claims", sa.Integer()),
        _column("attempts", sa.Integer()), sa.Column("first_attempt_at", _TIME), sa.Column("last_attempt_at", _TIME),
        sa.Column("next_attempt_at", _TIME), sa.Column("expires_at", _TIME), sa.Column("code", sa.Integer()),
        _column("enhanced", sa.String(16)), _column("reply", sa.Text()), _column("created_at", _TIME),
        sa.PrimaryKeyConstraint("id", name="pk_deliveries"),
        sa.CheckConstraint(
            "(status = 'sending') = (lease_id IS NOT NULL)", name=op.f("ck_deliveries_lease_while_sending")
        ),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaigns.id"], name="fk_deliveries_campaign_id_campaigns"),
        sa.ForeignKeyConstraint(["slice_id"], ["slices.id"], name="fk_deliveries_slice_id_slices"),
        sa.ForeignKeyConstraint(["subscriber_id"], ["subscribers.id"], name="fk_deliveries_subscriber_id_subscribers"),
        sa.ForeignKeyConstraint(
            ["subscription_id"], ["subscriptions.id"], name="fk_deliveries_subscription_id_subscriptions"
        ),
        sa.UniqueConstraint("dedupe_key", name="uq_deliveries_dedupe_key"),
        sa.ForeignKeyConstraint(
            ["shows_campaign_id"], ["campaigns.id"], name="fk_deliveries_shows_campaign_id_campaigns"
        ),
    )
    _index("ix_deliveries_address", "deliveries", ["address", "created_at"], "campaign_id IS NULL")
    _index("ix_deliveries_campaign", "deliveries", ["campaign_id", "status", "id"])
    _index("ix_deliveries_due", "deliveries", ["next_attempt_at"], "status = 'deferred'")
    _index("ix_deliveries_expiring", "deliveries", ["expires_at"], "expires_at IS NOT NULL AND status = 'queued'")
    _index("ix_deliveries_lease", "deliveries", ["lease_id"], "lease_id IS NOT NULL")
    _index("ix_deliveries_queued", "deliveries", ["campaign_id", "destination", "id"], "status = 'queued'")
    _index("ix_deliveries_subscriber", "deliveries", ["subscriber_id"])
    _index("ix_deliveries_transactional", "deliveries", ["id"], "status = 'queued' AND campaign_id IS NULL")


def _tallies() -> None:
    op.create_table(
        "tallies",
        _column("slice_id", _KEY), _column("status", sa.String(16)), _column("reason", sa.String(32)),
        _column("n", sa.BigInteger()),
        sa.PrimaryKeyConstraint("slice_id", "status", "reason", name="pk_tallies"),
        sa.ForeignKeyConstraint(["slice_id"], ["slices.id"], name="fk_tallies_slice_id_slices"),
    )


def _attempts() -> None:
    op.create_table(
        "attempts",
        _column("id", _KEY), _column("delivery_id", _KEY), _column("at", _TIME), _column("outcome", sa.String(16)),
        sa.Column("code", sa.Integer()), _column("enhanced", sa.String(16)), _column("reply", sa.Text()),
        _column("duration_ms", sa.Integer()),
        sa.PrimaryKeyConstraint("id", name="pk_attempts"),
        sa.ForeignKeyConstraint(["delivery_id"], ["deliveries.id"], name="fk_attempts_delivery_id_deliveries"),
    )
    _index("ix_attempts_delivery_id", "attempts", ["delivery_id"])
