"""What keeps breakers and connections for everybody who asks the same keeper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from worker.domain.breaker import Admission, Breaker, Pauses
from worker.domain.errors import TemporaryError

# A breaker nobody has tried for so long after its pause is forgotten; one that is whole is remembered as long, so
# that who finds nothing knows that the keeper was emptied.
REMEMBERED_SECONDS = 3600.0

# A connection whose process has died is given back after this; who lives renews three times meanwhile.
LEASE_SECONDS = 60.0


class GatesUnavailable(TemporaryError):
    """The keeper cannot be asked now."""


class BreakerStore(Protocol):
    """Breakers by name. Times in what is returned are seconds from now. All raise `GatesUnavailable`."""

    def trip(self, name: str, pauses: Pauses, asked: float | None, why: str) -> Breaker:
        """See `domain.breaker.trip`."""

    def admit(self, name: str, wanted: int) -> tuple[Breaker, Admission] | None:
        """See `domain.breaker.admit`; None where nothing is known of it."""

    def land(self, name: str, pauses: Pauses, heard: int, other: int) -> Breaker:
        """See `domain.breaker.land`."""

    def keep(self, name: str, breaker: Breaker) -> None:
        """Remember what a process has kept, where nothing is known of it."""

    def all(self) -> Mapping[str, Breaker]:
        """Those that are remembered, the whole ones among them."""


class Leases(Protocol):
    """Connections that a next hop may have from all workers together. All raise `GatesUnavailable`."""

    def take(self, name: str, most: int, holder: str, *, urgent: bool) -> bool:
        """Whether `holder` (PROCESS:NUMBER) may open one more.

        What urgent mail was refused, others leave to it for some seconds. While a process waits that has less than a
        fair part of them, who has that gets no more.
        """

    def renew(self, held: Sequence[tuple[str, str]]) -> None:
        """(name, holder) of all connections that are still open."""

    def give_back(self, name: str, holder: str) -> None:
        """It is closed."""

    def died(self, process: str) -> None:
        """All its connections ended with it: nobody need wait until they are over."""


def breaker_object(name: str, breaker: Breaker) -> dict[str, Any]:
    """What is shown of one whose times are seconds from now; `opens_in_s` is 0 once it may be tried."""
    return {
        "name": name, "state": str(breaker.phase(0.0)), "opens_in_s": round(max(0.0, breaker.until), 1),
        "failures": breaker.failures, "window": breaker.window, "why": breaker.why,
    }  # fmt: skip
