"""Events that led to nothing: looked for page by page, so that no look reads all of them in one transaction."""

from __future__ import annotations

from collections.abc import Iterator

from worker.intake import queries
from worker.intake.effects import KNOWN_TYPES
from worker.intake.receive import ERASED
from worker.storage.database import Database

_PAGE = 5000


def overlooked(database: Database) -> Iterator[int]:
    """The numbers of events that can be replayed: accepted without an effect, or ignored and of a type known now."""
    after, types = 0, sorted(KNOWN_TYPES)
    while True:
        with database.read() as connection:
            end = queries.page_end(connection, after, _PAGE)
            found = [] if end is None else queries.without_effect(connection, after, end, types)
        yield from (row.id for row in found if row.data != ERASED)
        if end is None:
            return
        after = end
