"""The ledger knows how many chains of bulk turns there are to be: as many as all bulk workers can take."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("ledger", sa.Column("chains", sa.Integer()))


def downgrade() -> None:
    op.drop_column("ledger", "chains")
