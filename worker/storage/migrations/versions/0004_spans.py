"""A campaign's deliveries are found by the spans of its slices; deliveries have fewer indexes and no foreign keys."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)

_REFERRED = {
    "campaign_id": "campaigns", "slice_id": "slices", "subscriber_id": "subscribers",
    "subscription_id": "subscriptions", "shows_campaign_id": "campaigns",
}  # fmt: skip

_Indexes = dict[str, tuple[list[str], str | None]]
_KEPT: _Indexes = {
    "ix_deliveries_address": (["address", "created_at"], "campaign_id IS NULL"),
    "ix_deliveries_due": (["next_attempt_at"], "status = 'deferred'"),
    "ix_deliveries_expiring": (["expires_at"], "expires_at IS NOT NULL AND status = 'queued'"),
    "ix_deliveries_lease": (["lease_id"], "lease_id IS NOT NULL"),
    "ix_deliveries_queued": (["campaign_id", "destination", "id"], "status = 'queued'"),
}
_OLD: _Indexes = {
    "ix_deliveries_campaign": (["campaign_id", "status", "id"], None),
    "ix_deliveries_subscriber": (["subscriber_id"], None),
    "ix_deliveries_transactional": (["id"], "status = 'queued' AND campaign_id IS NULL"),
}
_NEW: _Indexes = {
    "ix_deliveries_aside": (
        ["campaign_id", "status", "id"], "status NOT IN ('queued', 'sending', 'sent', 'delivered')"
    ),
    "ix_deliveries_subscriber": (["subscriber_id"], "campaign_id IS NULL"),
    "ix_deliveries_transactional": (["status", "id"], "campaign_id IS NULL"),
}  # fmt: skip

# What a slice's rows say of it, for the slices that are there.
_FILL = """
UPDATE slices SET first_id = found.first_id, last_id = found.last_id, planned_at = found.planned_at
FROM (
    SELECT slice_id, min(id) AS first_id, max(id) AS last_id, min(created_at) AS planned_at FROM deliveries
    WHERE campaign_id IS NOT NULL GROUP BY slice_id
) AS found
WHERE found.slice_id = slices.id
"""


def upgrade() -> None:
    op.add_column("slices", sa.Column("first_id", sa.BigInteger()))
    op.add_column("slices", sa.Column("last_id", sa.BigInteger()))
    op.add_column("slices", sa.Column("planned_at", _TIME))
    op.execute(_FILL)
    op.drop_index("ix_slices_campaign_id", "slices")
    op.create_index("ix_slices_campaign_id_last_id", "slices", ["campaign_id", "last_id"])
    _change_deliveries(_OLD, _NEW, bound=False)


def downgrade() -> None:
    _change_deliveries(_NEW, _OLD, bound=True)
    op.drop_index("ix_slices_campaign_id_last_id", "slices")
    op.create_index("ix_slices_campaign_id", "slices", ["campaign_id"])
    for name in ("planned_at", "last_id", "first_id"):
        op.drop_column("slices", name)


def _change_deliveries(old: _Indexes, new: _Indexes, *, bound: bool) -> None:
    """`bound`: by foreign keys, as it was."""
    if op.get_bind().dialect.name == "sqlite":
        _make_anew(new, bound=bound)
        return
    for name in old:
        op.drop_index(name, "deliveries")
    for column, table in _REFERRED.items():
        name = f"fk_deliveries_{column}_{table}"
        if bound:
            op.create_foreign_key(name, "deliveries", table, [column], ["id"])
        else:
            op.drop_constraint(name, "deliveries")
    _add_indexes(new)


def _make_anew(new: _Indexes, *, bound: bool) -> None:
    """SQLite drops no constraint. The rows are copied, in minutes where there are tens of millions."""
    columns = _columns()
    op.create_table("deliveries_new", *columns, *_constraints(bound=bound), sqlite_autoincrement=True)
    names = ", ".join(str(column.name) for column in columns)
    op.execute(f"INSERT INTO deliveries_new ({names}) SELECT {names} FROM deliveries ORDER BY id")  # noqa: S608
    op.drop_table("deliveries")
    op.rename_table("deliveries_new", "deliveries")
    _add_indexes(_KEPT | new)


def _add_indexes(indexes: _Indexes) -> None:
    for name, (columns, where) in indexes.items():
        condition = None if where is None else sa.text(where)
        op.create_index(name, "deliveries", columns, postgresql_where=condition, sqlite_where=condition)


def _columns() -> list[sa.Column[Any]]:
    def need(name: str, kind: sa.types.TypeEngine[Any]) -> sa.Column[Any]:
        return sa.Column(name, kind, nullable=False)

    return [
        need("id", _KEY), need("publication", sa.String(64)), need("kind", sa.String(32)),
        sa.Column("campaign_id", _KEY), need("slice_id", _KEY), sa.Column("subscriber_id", _KEY),
        sa.Column("subscription_id", _KEY), need("address", sa.String(320)), need("destination", sa.String(64)),
        need("dedupe_key", sa.String(200)), sa.Column("shows_campaign_id", _KEY), need("status", sa.String(16)),
        need("reason", sa.String(32)), sa.Column("lease_id", sa.BigInteger()), need("claims", sa.Integer()),
        need("attempts", sa.Integer()), sa.Column("first_attempt_at", _TIME), sa.Column("last_attempt_at", _TIME),
        sa.Column("next_attempt_at", _TIME), sa.Column("expires_at", _TIME), sa.Column("code", sa.Integer()),
        need("enhanced", sa.String(16)), need("reply", sa.Text()), need("created_at", _TIME),
    ]  # fmt: skip


def _constraints(*, bound: bool) -> list[sa.Constraint]:
    keys = [
        sa.ForeignKeyConstraint([column], [f"{table}.id"], name=f"fk_deliveries_{column}_{table}")
        for column, table in _REFERRED.items()
    ]
    return [
        sa.PrimaryKeyConstraint("id", name="pk_deliveries"),
        sa.CheckConstraint(
            "(status = 'sending') = (lease_id IS NOT NULL)", name=op.f("ck_deliveries_lease_while_sending")
        ),
        *(keys if bound else []),
        sa.UniqueConstraint("dedupe_key", name="uq_deliveries_dedupe_key"),
    ]
