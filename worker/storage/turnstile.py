"""Who plans mail for many readers at once, and who changes readers for good, keep out of each other's way.

A slice is planned by one statement, which sees the readers as they were when it began; an erasure that commits
meanwhile neither sees the new deliveries nor is seen by them. SQLite has one writer anyway.
"""

from __future__ import annotations

from sqlalchemy import Connection, func, select

# It keeps this lock apart from the sign-ups' (`audience.queries`) and those of campaigns (`campaigns.queries`).
_SPACE = 1_003
_PLANNING = 0


def plans(connection: Connection) -> None:
    """Until the end of this transaction, beside all others that plan. Before the statement that reads the readers."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock_shared(_SPACE, _PLANNING)))


def keeps_plans_out(connection: Connection) -> None:
    """Waits for the slices under way; the next ones begin after this transaction."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_SPACE, _PLANNING)))
