"""What an audit finds: each kind with what mends it. `docs/operations.md` has a section for each."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """`QUICK` ones are looked for at each scrape of `/metrics`, the others by `pressrun audit` alone."""

    # the database itself
    MIGRATION = "migration"
    SENDING_HELD = "sending_held"
    SWEEP_SILENT = "sweep_silent"
    # deliveries that stand still
    LEASE_EXPIRED = "lease_expired"
    LEASE_EMPTY = "lease_empty"
    SENDING_WITHOUT_LEASE = "sending_without_lease"
    RETRY_OVERDUE = "retry_overdue"
    EXPIRY_OVERDUE = "expiry_overdue"
    TRANSACTIONAL_LATE = "transactional_late"
    UNKNOWN_HELD = "unknown_held"
    # campaigns that stand still
    CHAINS_SILENT = "chains_silent"
    CAMPAIGN_UNPLANNED = "campaign_unplanned"
    CAMPAIGN_UNFINISHED = "campaign_unfinished"
    CAMPAIGN_FAILED = "campaign_failed"
    # the queues and what is beside them
    REDIS_AWAY = "redis_away"
    QUEUE_UNREAD = "queue_unread"
    DOORBELL_LOST = "doorbell_lost"
    LIMIT_CLOSED = "limit_closed"
    BREAKER_OPEN = "breaker_open"
    JOURNAL_LEFT = "journal_left"
    # what takes a walk through the ledger
    TALLY_WRONG = "tally_wrong"
    EVENT_WITHOUT_EFFECT = "event_without_effect"


QUICK = (
    Kind.SENDING_HELD, Kind.SWEEP_SILENT, Kind.LEASE_EXPIRED, Kind.LEASE_EMPTY, Kind.SENDING_WITHOUT_LEASE,
    Kind.RETRY_OVERDUE, Kind.EXPIRY_OVERDUE, Kind.TRANSACTIONAL_LATE, Kind.UNKNOWN_HELD, Kind.CHAINS_SILENT,
    Kind.CAMPAIGN_UNPLANNED, Kind.CAMPAIGN_UNFINISHED, Kind.CAMPAIGN_FAILED,
)  # fmt: skip

MEND = "`pressrun audit --mend`"
_WORKERS = "start a bulk worker, which runs the sweep, and the scheduler, which rings it"

FIXES: dict[Kind, str] = {
    Kind.MIGRATION: "`pressrun db upgrade`",
    Kind.SENDING_HELD: "`pressrun db release` says what would be sent, `pressrun db release --yes` sends it",
    Kind.SWEEP_SILENT: f"{_WORKERS} (`pressrun part bulk`, `pressrun part scheduler`)",
    Kind.LEASE_EXPIRED: MEND,
    Kind.LEASE_EMPTY: f"nothing, it is taken away when its time is over; if it is not, {MEND}",
    Kind.SENDING_WITHOUT_LEASE: MEND,
    Kind.RETRY_OVERDUE: MEND,
    Kind.EXPIRY_OVERDUE: MEND,
    Kind.TRANSACTIONAL_LATE: f"start a transactional worker (`pressrun part transactional`); then {MEND}",
    Kind.UNKNOWN_HELD: "`pressrun deliveries --status unknown`, then `pressrun retry {campaign} --status unknown` or "
    "`pressrun mark-sent {campaign}`",
    Kind.CHAINS_SILENT: f"start a bulk worker (`pressrun part bulk`); then {MEND}",
    Kind.CAMPAIGN_UNPLANNED: f"start a bulk worker (`pressrun part bulk`); then {MEND}",
    Kind.CAMPAIGN_UNFINISHED: MEND,
    Kind.CAMPAIGN_FAILED: "mend what its reason names, then `pressrun retry {campaign}`; or `pressrun cancel "
    "{campaign}`",
    Kind.REDIS_AWAY: "start Redis, or correct PRESSRUN_REDIS_URL; `pressrun check` says more",
    Kind.QUEUE_UNREAD: "start the worker that reads it: `pressrun part transactional` or `pressrun part bulk`",
    Kind.DOORBELL_LOST: MEND,
    Kind.LIMIT_CLOSED: "nothing, it opens by itself; `pressrun status` says why it is closed",
    Kind.BREAKER_OPEN: "nothing, each is tried again by itself; `pressrun status` says when",
    Kind.JOURNAL_LEFT: f"{MEND} on this host",
    Kind.TALLY_WRONG: MEND,
    Kind.EVENT_WITHOUT_EFFECT: "`pressrun replay --all`",
}
assert set(FIXES) == set(Kind)


@dataclass(frozen=True, slots=True)
class Finding:
    """`n` of a kind, in words, and the command that mends it. `wrong` False: worth knowing, and no fault."""

    kind: Kind
    n: int
    words: str
    fix: str
    wrong: bool = True

    @classmethod
    def of(cls, kind: Kind, n: int, words: str, campaign: int | None = None) -> Finding:
        fix = FIXES[kind].replace("{campaign}", "--delivery ID" if campaign is None else str(campaign))
        return cls(kind, n, words, fix, wrong=kind not in (Kind.LIMIT_CLOSED, Kind.BREAKER_OPEN))

    def object(self) -> dict[str, Any]:
        """`{"kind", "n", "words", "fix", "wrong"}`"""
        return asdict(self)
