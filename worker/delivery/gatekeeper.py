"""Whether a job may go to its next hop now; if not, where it waits."""

from __future__ import annotations

from datetime import timedelta

from worker.delivery.gates import Breakers
from worker.delivery.lane import Job
from worker.delivery.parcels import Hold
from worker.delivery.transports.base import Exchange, HopUnavailable, NextHop
from worker.domain.clock import Clock
from worker.domain.delivery import Reason
from worker.domain.replies import Reply, Stage, is_about_connections
from worker.domain.waiting import asked_wait

# A hop that is slow, or has no connection left: those that find no place there look again after this at least …
SHORTEST_HOLD_SECONDS = 5.0
# … and at most, however long they have waited.
LONGEST_HOLD_SECONDS = 3600.0
# Places that were found whole since a breaker last opened or closed; more than a process has in hand at once.
_REMEMBERED = 10_000


class Gatekeeper:
    """Reads replies for what they say of the next hop, and keeps the breakers told. For the courier's loop."""

    def __init__(self, breakers: Breakers, clock: Clock) -> None:
        self.breakers = breakers
        self._clock = clock
        self._whole: set[tuple[str, str, str]] = set()
        self._whole_at = 0

    def _is_whole(self, job: Job, hop: NextHop) -> bool:
        """Both its breakers are. While one of any other destination is not, each mail asks this three times."""
        breakers = self.breakers
        if not breakers.troubled:
            return True
        if self._whole_at != breakers.changes or len(self._whole) > _REMEMBERED:
            self._whole.clear()
            self._whole_at = breakers.changes
        claimed = job.claimed
        place = (hop.name, hop.group, claimed.destination or claimed.domain)
        if place in self._whole:
            return True
        whole = breakers.is_whole(hop.gate) and breakers.is_whole(_gate(job, hop))
        if whole:
            self._whole.add(place)
        return whole

    def shut(self, job: Job, hop: NextHop) -> float:
        """Seconds until mail for its recipient may go to this hop; 0: now."""
        if self._is_whole(job, hop):
            return 0.0
        return max(self.breakers.wait(hop.gate), self.breakers.wait(_gate(job, hop)))

    def must_ask(self, job: Job, hop: NextHop) -> str:
        """The breaker that must let it through, or nothing. A listed destination was asked before the claim."""
        if not self.breakers.troubled or job.claimed.destination:
            return ""
        gate = _gate(job, hop)
        return "" if self.breakers.is_whole(gate) else gate

    def hold(self, seconds: float, why: str, reason: Reason = Reason.THROTTLED) -> Hold:
        return Hold(self._clock.now() + timedelta(seconds=seconds), reason, why)

    def growing(self, job: Job, seconds: float) -> float:
        """Seconds for one whose hop is not to be had: half of what it has waited already, if that is longer.

        What is dead for three days is looked for some eighty times, not each minute.
        """
        first = job.claimed.first_attempt_at
        waited = (self._clock.now() - first).total_seconds() if first else 0.0
        return max(seconds, min(LONGEST_HOLD_SECONDS, waited / 2))

    def answered(self, job: Job, hop: NextHop, exchange: Exchange) -> None:
        """What a reply, or none, says of the place it came from."""
        if exchange.judgement.reason is Reason.THROTTLED and exchange.reply is not None:
            # behind a relay, only the answer to RCPT is about the recipient's host; the relay itself has answered
            at_rcpt = exchange.stage is Stage.RCPT
            gate = _gate(job, hop) if at_rcpt or hop.hosts else hop.gate
            self._trip(gate, exchange.reply)
            self._land({hop.gate, _gate(job, hop)} - {gate}, heard=at_rcpt)
        elif not self._is_whole(job, hop):
            self.landed(job, hop, heard=exchange.reply is not None and exchange.stage is not Stage.CONNECT)

    def landed(self, job: Job, hop: NextHop | None, *, heard: bool = False) -> None:
        """It came back: answered, or without a word. `hop` None: it never came to one; its group was asked for it."""
        if self.breakers.troubled:
            group = f"destination:{job.claimed.destination}"
            self._land({group} if hop is None else {hop.gate, _gate(job, hop)}, heard)

    def not_admitted(self, job: Job, hop: NextHop) -> None:
        """`must_ask` had a breaker, which does not let it through; a relay's, which was asked before the claim, did."""
        self._land({hop.gate} - {_gate(job, hop)}, heard=False)

    def _land(self, gates: set[str], heard: bool) -> None:
        for gate in gates:
            self.breakers.land(gate, int(heard), int(not heard))

    def refused(self, hop: NextHop, refusal: HopUnavailable | Exchange) -> None:
        """At the door. Too many connections are this process's to learn; all else with 421 holds for everybody."""
        reply = refusal.reply
        if reply is not None and reply.code == 421 and not is_about_connections(reply):
            self._trip(hop.gate, reply)

    def _trip(self, gate: str, reply: Reply) -> None:
        self.breakers.trip(gate, asked_wait(reply.text), str(reply))


def _gate(job: Job, hop: NextHop) -> str:
    return hop.gate_for(job.claimed.destination, job.claimed.domain)
