"""Alembic's way in. The connection is given by `worker.storage.migrate`, inside its one transaction."""

from __future__ import annotations

from alembic import context

from worker.storage.models import Base

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    # SQLite cannot alter a table; batch mode makes a new one and moves the rows.
    render_as_batch=connection.dialect.name == "sqlite",
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
