"""Counters against counted rows. Deliveries are walked by id, page by page, so that no look reads all of them in one
transaction; a slice that seems wrong is looked at again at one moment, since rows move meanwhile."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from worker.audit import tally_queries
from worker.audit.findings import Finding, Kind
from worker.domain.campaign import CampaignReason
from worker.domain.delivery import OPEN, DeliveryStatus
from worker.storage.database import Database
from worker.storage.moves import add_tallies

_PAGE = 20_000
_SLICES = 1000

_Counts = Mapping[tuple[str, str], int]
"""{(status, reason): n}"""


@dataclass(frozen=True, slots=True)
class WrongSlice:
    """`off`: by how much its rows differ from its counters. `span` as in `tally_queries.both`."""

    id: int
    campaign_id: int | None
    old: bool
    span: tuple[int, int] | None
    off: Mapping[tuple[str, str], int]

    @property
    def finding(self) -> Finding:
        whose = "transactional mail" if self.campaign_id is None else f"campaign {self.campaign_id}"
        said = ", ".join(f"{' '.join(filter(None, place))} {n:+,}" for place, n in sorted(self.off.items()))
        return Finding.of(Kind.TALLY_WRONG, 1, f"slice {self.id} of {whose}: its rows differ from its counts by {said}")


def wrong_slices(database: Database, cutoff: datetime) -> Iterator[WrongSlice]:
    """`cutoff`: deliveries made before it may have gone, as those of a campaign that says so; their counts stay."""
    counted, spans = _walk(database)
    after = 0
    while True:
        with database.read() as connection:
            page = tally_queries.slices(connection, after, _SLICES)
            if not page:
                return
            kept = _kept(connection, page[0].id, page[-1].id)
        for row in page:
            # campaigns are looked up by id ranges; a shard is found by its having none
            span = None if row.campaign_id is None else _span(row, spans.get(row.id, ()))
            old = tally_queries.made_before(row.made, cutoff) or row.reason == CampaignReason.DROPPED
            if off(counted[row.id], kept[row.id], old=old):
                with database.read() as connection:
                    found = _exact(connection, row.id, span, old=old)
                if found:
                    yield WrongSlice(row.id, row.campaign_id, old, span, found)
        after = page[-1].id


def mend(database: Database, wrong: WrongSlice) -> bool:
    """Set its counters to what its rows say; False where they have come right by themselves."""
    with database.write() as connection:
        tally_queries.lock_tallies(connection, wrong.id)
        found = _exact(connection, wrong.id, wrong.span, old=wrong.old)
        add_tallies(connection, Counter({(wrong.id, *place): n for place, n in found.items()}))
    return bool(found)


def off(counted: _Counts, kept: _Counts, *, old: bool) -> dict[tuple[str, str], int]:
    """{(status, reason): counted - kept} where it must not differ.

    `old`: rows that have come to an end may be gone, so that more may have been counted than there are.
    """
    gone = not counted and all(n == 0 for (status, _), n in kept.items() if DeliveryStatus(status) in OPEN)
    found = {}
    for place in {*counted, *kept}:
        n, was = counted.get(place, 0), kept.get(place, 0)
        may_be_gone = (old or gone) and DeliveryStatus(place[0]) not in OPEN and was >= 0
        if n > was or (n < was and not may_be_gone):
            found[place] = n - was
    return found


def _walk(database: Database) -> tuple[defaultdict[int, Counter[tuple[str, str]]], dict[int, tuple[int, int]]]:
    """What is counted of each slice, and between which ids; a few entries for each few thousand rows."""
    counted: defaultdict[int, Counter[tuple[str, str]]] = defaultdict(Counter)
    spans: dict[int, tuple[int, int]] = {}
    after = 0
    while True:
        with database.read() as connection:
            end = tally_queries.page_end(connection, after, _PAGE)
            rows = [] if end is None else tally_queries.count_page(connection, after, end)
        for slice_id, status, reason, n, first, last in rows:
            counted[slice_id][(status, reason)] += n
            low, high = spans.get(slice_id, (first, last))
            spans[slice_id] = (min(low, first), max(high, last))
        if end is None:
            return counted, spans
        after = end


def _span(row: tally_queries.AnyRow, walked: tuple[int, ...]) -> tuple[int, int]:
    """Between which ids the rows of a planned slice are, from now on.

    The walk alone does not tell: the slice may have been planned behind it, or below where it was already, since
    PostgreSQL gives ids before they can be seen. What the slice says came with its rows and only narrows, as they are
    dropped; so it holds for every later look. What was walked counts where the slice says less.
    """
    ids = [one for one in (row.first_id, row.last_id, *walked) if one is not None]
    return (min(ids), max(ids)) if ids else (0, 0)


def _kept(connection: Connection, first: int, last: int) -> defaultdict[int, dict[tuple[str, str], int]]:
    kept: defaultdict[int, dict[tuple[str, str], int]] = defaultdict(dict)
    for row in tally_queries.kept(connection, first, last):
        kept[row.slice_id][(row.status, row.reason)] = row.n
    return kept


def _exact(
    connection: Connection, slice_id: int, span: tuple[int, int] | None, *, old: bool
) -> dict[tuple[str, str], int]:
    counts: dict[str, dict[tuple[str, str], int]] = {"counted": {}, "kept": {}}
    for row in tally_queries.both(connection, slice_id, span):
        counts[row.what][(row.status, row.reason)] = row.n
    return off(counts["counted"], counts["kept"], old=old)
