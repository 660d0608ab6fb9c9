"""Addresses that must not be written to. `*` as the publication means: by nobody."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from worker.audience import queries
from worker.audience.addresses import Address
from worker.domain.audience import SuppressionReason

EVERYBODY = "*"


@dataclass(frozen=True, slots=True)
class Suppression:
    """One entry on record."""

    publication: str
    reason: SuppressionReason
    evidence: str
    created_at: datetime


def suppress(
    connection: Connection, address: Address, publication: str, reason: SuppressionReason, evidence: str, now: datetime
) -> bool:
    """True if new; an entry that was there keeps its reason and evidence."""
    return queries.add_suppression(connection, address.address, publication, reason, evidence, now)


def unsuppress(connection: Connection, address: Address, publication: str) -> bool:
    """True if there was such an entry. One for `*` is only ended by naming `*`."""
    return queries.delete_suppression(connection, address.address, publication)


def suppressions(connection: Connection, address: Address) -> list[Suppression]:
    """All entries of an address, that for everybody first."""
    # sorted here: databases do not agree on where `*` stands
    rows = sorted(queries.suppressions(connection, address.address), key=lambda row: row.publication)
    return [Suppression(row.publication, SuppressionReason(row.reason), row.evidence, row.created_at) for row in rows]


def is_suppressed(connection: Connection, publication: str, address: Address) -> bool:
    """Whether this publication must not write to it."""
    return any(one.publication in (EVERYBODY, publication) for one in suppressions(connection, address))
