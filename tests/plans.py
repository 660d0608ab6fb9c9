"""How a database goes about what it is asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, event

from worker.storage.database import Database

Ask = Callable[[Connection], object]


def plans(database: Database, ask: Ask) -> list[str]:
    """The steps of the statements of a question, one a line. What it writes is rolled back."""
    asked: list[tuple[str, Any]] = []

    def remember(_c: object, _k: object, statement: str, values: Any, _x: object, many: object) -> None:
        if not many:
            asked.append((statement, values))

    explain = "EXPLAIN QUERY PLAN" if database.is_sqlite else "EXPLAIN"
    with database.read() as connection:
        event.listen(connection, "before_cursor_execute", remember)
        ask(connection)
        event.remove(connection, "before_cursor_execute", remember)
        # the last column is the step in words, on both
        return [
            str(step[-1]).strip()
            for statement, values in asked
            for step in connection.exec_driver_sql(f"{explain} {statement}", values)
        ]
