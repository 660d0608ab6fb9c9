"""Warm-up: what a sending domain has used of each day's allowance."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "warmup_days",
        sa.Column("id", _KEY, nullable=False), sa.Column("domain", sa.String(255), nullable=False),
        sa.Column("day", sa.Date(), nullable=False), sa.Column("lane", sa.String(16), nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_warmup_days"),
        sa.UniqueConstraint("domain", "day", "lane", name="uq_warmup_days_domain_day_lane"),
    )  # fmt: skip
    # Not in batch mode, which would make the table anew on SQLite: a lease's id, the fencing token, would begin
    # again at 1.
    op.add_column("leases", sa.Column("warmup_day_id", sa.BigInteger()))


def downgrade() -> None:
    op.drop_column("leases", "warmup_day_id")
    op.drop_table("warmup_days")
