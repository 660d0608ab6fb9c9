"""What the steps of a delivery hand to each other."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from worker.delivery.transports.base import Exchange
from worker.domain.delivery import Kind, Reason
from worker.domain.replies import Outcome


@dataclass(slots=True)
class Lease:
    """One claim as its holder sees it. Ticks are `Clock.ticks`, which run on while the process is stopped."""

    id: int
    start_by: float
    """Tick after which no conversation of this claim may start (promise 5)."""
    valid_until: float
    """Tick after which the claim may have been taken over; moved on by renewal."""
    expires_at: datetime
    """The same as the ledger has it: whose clock was set may have lost the claim while its ticks still hold."""
    open: int
    """Deliveries of it whose outcome is not recorded yet."""
    spoilt: bool = False
    """One of its outcomes would not be written: it is left to run out, for the sweep to take over."""


# Not frozen: making a frozen one costs as much as signing its links, and each mail makes several.
@dataclass(slots=True, eq=False)
class Claimed:
    """A delivery that is ours to send, with what its mail needs. Nobody changes it."""

    id: int
    lease_id: int
    publication: str
    kind: Kind
    campaign_id: int | None
    slice_id: int
    subscription_id: int | None
    generation: int
    lists: tuple[str, ...]
    """The list it goes to; of a confirmation, all that are to be confirmed."""
    address: str
    name: str
    locale: str
    created_at: datetime
    attempts: int
    """Attempts before this one."""
    first_attempt_at: datetime | None
    expires_at: datetime | None
    shows_campaign_id: int | None = None
    warmup_day_id: int | None = None
    """The counter it was taken from, where its sender's domain is warming up."""
    destination: str = ""
    """The group of `shaping.toml` that its domain is in, or empty."""

    @property
    def domain(self) -> str:
        """Of its address: an A-label in small letters."""
        return self.address.rpartition("@")[2].lower()


@dataclass(frozen=True, slots=True)
class Hold:
    """Its next hop takes nothing now: it is tried again then, and no attempt is counted."""

    until: datetime
    reason: Reason
    why: str


@dataclass(slots=True, eq=False)
class Result:
    """How one claimed delivery ended this time.

    `exchange` None: no conversation was started, it goes back to the queue and no attempt is counted; with a `hold`,
    it waits elsewhere meanwhile. `fault`: it cannot be sent at all (its template, its address), whatever a server
    would say.
    """

    claimed: Claimed
    at: datetime
    exchange: Exchange | None
    fault: str = ""
    hold: Hold | None = None

    @property
    def unknown(self) -> bool:
        """Cut between the body and its answer: it may have been taken."""
        return self.exchange is not None and self.exchange.judgement.outcome is Outcome.UNKNOWN
