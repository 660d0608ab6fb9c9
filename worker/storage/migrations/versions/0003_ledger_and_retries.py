"""The ledger knows how far it has come, a retry how far it has got; ids that are known outside are not used again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)
_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_NEVER_TWICE = ("campaigns", "subscriptions", "deliveries")


def upgrade() -> None:
    op.create_table(
        "ledger",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("identity", sa.String(32), nullable=False), sa.Column("mark", sa.BigInteger(), nullable=False),
        sa.Column("cleared", sa.BigInteger(), nullable=False), sa.Column("swept_at", _TIME, nullable=False),
        sa.Column("held_at", _TIME), sa.Column("held_why", sa.Text(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_ledger_one_row")),
        sa.PrimaryKeyConstraint("id", name="pk_ledger"),
    )
    for table in _NEVER_TWICE:
        _rebuild(table, "id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT", key="")
    op.create_table(
        "retries",
        sa.Column("campaign_id", _KEY, nullable=False, autoincrement=False),
        sa.Column("statuses", sa.JSON(), nullable=False), sa.Column("cursor", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaigns.id"], name="fk_retries_campaign_id_campaigns"),
        sa.PrimaryKeyConstraint("campaign_id", name="pk_retries"),
    )


def downgrade() -> None:
    op.drop_table("retries")
    for table in _NEVER_TWICE:
        _rebuild(table, "id INTEGER NOT NULL", key=f"CONSTRAINT pk_{table} PRIMARY KEY (id)")
    op.drop_table("ledger")


def _rebuild(table: str, id_column: str, *, key: str) -> None:
    """On SQLite, where only a new table can number its rows otherwise: its own words, with another `id`.

    The words themselves, since what is read back from a database has lost some of them (checks, conditions).
    """
    connection = op.get_bind()
    if connection.dialect.name != "sqlite":
        return
    asked = sa.text("SELECT type, sql FROM sqlite_master WHERE tbl_name = :table AND sql IS NOT NULL")
    said = connection.execute(asked, {"table": table}).all()
    (made,) = (sql for kind, sql in said if kind == "table")
    names = ", ".join(f'"{one["name"]}"' for one in sa.inspect(connection).get_columns(table))
    op.execute(_with_id(made, table, id_column, key))
    op.execute(f"INSERT INTO {table}_new ({names}) SELECT {names} FROM {table} ORDER BY id")  # noqa: S608 - our own words
    op.execute(f"DROP TABLE {table}")
    op.execute(f"ALTER TABLE {table}_new RENAME TO {table}")
    for kind, sql in said:
        if kind == "index":
            op.execute(sql)


def _with_id(made: str, table: str, id_column: str, key: str) -> str:
    """The statement that makes the table anew under another name."""
    inside = made[made.index("(") + 1 : made.rindex(")")]
    parts = [part for part in _parts(inside) if not part.startswith(f"CONSTRAINT pk_{table} ")]
    columns = [part for part in parts if not part.startswith(("CONSTRAINT ", "id "))]
    constraints = [part for part in parts if part.startswith("CONSTRAINT ")]
    whole = [id_column, *columns, *([key] if key else []), *constraints]
    return f"CREATE TABLE {table}_new (" + ", ".join(whole) + ")"


def _parts(inside: str) -> list[str]:
    """Columns and constraints: what stands between the commas that are in no bracket."""
    parts, depth = [""], 0
    for letter in inside:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]
