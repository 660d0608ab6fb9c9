"""Readers from a CSV, streamed into the ledger in small transactions. Running it again changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import BinaryIO

from worker.audience import queries_import
from worker.audience.csvfile import BadRow, ReaderRow, read_rows
from worker.domain.clock import Clock
from worker.storage.database import Database

# About 10 ms on SQLite, where everybody else waits meanwhile.
BATCH_ROWS = 250

_FORM = "import"


@dataclass(frozen=True, slots=True)
class ImportInto:
    """Where the readers go. `source` names the file in each consent's evidence."""

    publication: str
    list_slug: str
    source: str


@dataclass(frozen=True, slots=True)
class ImportResult:
    """Rows counted by what became of them."""

    rows: int = 0
    """Good ones."""
    added: int = 0
    """On the list now and not before."""
    unsubscribed: int = 0
    """Have left the list at some time and stay away."""
    suppressed: int = 0
    """Must not be written to, and will not be; counted apart from the others."""
    bad: int = 0

    @property
    def unchanged(self) -> int:
        """Were on the list already, or stood in the file twice."""
        return self.rows - self.added - self.unsubscribed


def import_csv(
    database: Database, clock: Clock, stream: BinaryIO, into: ImportInto, report: Callable[[BadRow], None],
    progress: Callable[[ImportResult], None] = lambda _: None,
) -> ImportResult:  # fmt: skip
    """Import all rows; bad ones are reported and skipped. `progress` is called after each transaction.

    Raises `InvalidInput` for a file that is wrong as a whole. Of a stream that can seek nothing has been imported
    then, but where a quote stays open: of what stands before it, some has.
    """
    result = ImportResult()
    batch: dict[str, ReaderRow] = {}
    rows = bad = 0
    for row in read_rows(stream):
        if isinstance(row, BadRow):
            report(row)
            bad += 1
            continue
        rows += 1
        key = row.address.address
        batch[key] = _merged(batch[key], row) if key in batch else row
        if len(batch) >= BATCH_ROWS:
            result = replace(_save(database, clock.now(), into, batch, result), rows=rows, bad=bad)
            progress(result)
            batch = {}
    result = replace(_save(database, clock.now(), into, batch, result) if batch else result, rows=rows, bad=bad)
    progress(result)
    return result


def _merged(first: ReaderRow, second: ReaderRow) -> ReaderRow:
    """The same reader twice: what a run for each row would have left."""
    return replace(
        first, name=second.name or first.name, locale=second.locale or first.locale,
        labels=(*first.labels, *second.labels),
    )  # fmt: skip


def _save(
    database: Database, now: datetime, into: ImportInto, batch: dict[str, ReaderRow], result: ImportResult
) -> ImportResult:
    with database.write() as connection:
        ids = queries_import.upsert_subscribers(
            connection, into.publication,
            [(key, row.address.email, row.address.domain, row.name, row.locale) for key, row in batch.items()], now,
        )  # fmt: skip
        known = [key for key in batch if key not in ids]
        if known:
            ids |= queries_import.subscriber_ids(connection, into.publication, known)
        numbers = sorted(ids.values())
        joined = queries_import.activate(connection, into.publication, into.list_slug, numbers, now)
        consents = [_consent(joined[ids[key]], row, into.source)
                    for key, row in batch.items() if ids[key] in joined]  # fmt: skip
        if consents:
            queries_import.add_consents(connection, consents, _FORM, now)
        labels = [(ids[key], label) for key, row in batch.items() for label in row.labels]
        if labels:
            queries_import.add_labels(connection, labels)
        away = 0
        if len(joined) < len(batch):
            away = queries_import.count_unsubscribed(connection, into.list_slug, numbers)
        suppressed = queries_import.count_suppressed(connection, into.publication, list(batch))
    return replace(
        result, added=result.added + len(joined), unsubscribed=result.unsubscribed + away,
        suppressed=result.suppressed + suppressed,
    )  # fmt: skip


def _consent(subscription_id: int, row: ReaderRow, source: str) -> tuple[int, datetime | None, str, str]:
    where = f"{source}, line {row.line}"
    evidence = f"{row.consent_evidence} ({where})" if row.consent_evidence else where
    return subscription_id, row.consent_at, row.consent_ip, evidence
