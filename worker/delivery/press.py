"""The press: the sending side of one process. Claims come in, mails go to the courier, outcomes to the ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import structlog

from worker.delivery import queries
from worker.delivery.backlog import Turns
from worker.delivery.claim import Claim, Claimer
from worker.delivery.composing import Composer
from worker.delivery.courier import Courier
from worker.delivery.gates import Breakers, Leases
from worker.delivery.journal import Journal
from worker.delivery.lane import Job
from worker.delivery.pace import Pace
from worker.delivery.parcels import Claimed, Result
from worker.delivery.record import RecordPolicy
from worker.delivery.recorder import Recorder
from worker.delivery.transports.base import RELAY, Transport
from worker.domain.breaker import Admission
from worker.domain.clock import Clock
from worker.domain.errors import PermanentError
from worker.domain.replies import Outcome
from worker.domain.warmup import Warmups
from worker.storage.database import Database

log = structlog.get_logger(__name__)

# More would make a claim's transaction longer than its neighbours like to wait (30 µs a row on SQLite).
_SQLITE_CLAIM = 250
_CLAIM = 1000

# Room for the conversations that are open when a process is told to stop.
_STOP_SECONDS = 10.0
# A database that is away must not keep a process from ending; the journal stays for whoever comes next.
_LAST_SET_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class PressSettings:
    """`connections`: of this process. `lease`: how long a claim holds without renewal."""

    connections: int
    lease: timedelta
    journal_dir: Path
    warmups: Warmups


Observe = Callable[[Sequence[Result]], None]


class Press:
    """Make it after a fork, in the process that sends; `close` it before that process ends."""

    def __init__(
        self, database: Database, clock: Clock, transport: Transport, composer: Composer, policy: RecordPolicy,
        settings: PressSettings, observe: Observe, breakers: Breakers, leases: Leases,
    ) -> None:  # fmt: skip
        self._database = database
        self._clock = clock
        self._composer = composer
        self._observe = observe
        self._breakers = breakers
        self.most = _SQLITE_CLAIM if database.is_sqlite else _CLAIM
        self._journal = Journal(settings.journal_dir)
        self.claimer = Claimer(database, clock, self._journal.owner, settings.lease, settings.warmups)
        self._pace = Pace(clock, least=2 * settings.connections, most=2 * self.most)
        self._recorder = Recorder(database, policy, clock, settings.lease, self._recorded)
        self._courier = Courier(
            transport, self._journal, clock, settings.connections, self._recorder.take, breakers, leases
        )

    def room(self, destination: str, *, joins: bool = False) -> int:
        """How many rows for this destination may be claimed now; 0 or less: wait first.

        It `joins` a claim that is made anyway, or is worth one by itself.
        """
        self._breakers.sync()
        if self.shut(destination) > 0:
            return 0
        waiting, free = self._courier.load(destination)
        room = (self._pace.spare if joins else self._pace.room)(destination, waiting)
        room = min(room, 1 if self.doubtful else self.most)
        return room if free is None else min(room, free)

    @property
    def doubtful(self) -> bool:
        """Whether a relay, or a journal that took no line, is tried again, with one row."""
        return self._courier.doubtful

    def shut(self, destination: str) -> float:
        """Seconds until its next hop may be tried again; 0 while it is fine."""
        return max([self._courier.shut(destination), *map(self._breakers.wait, self._gates(destination))])

    def admit(self, destination: str, wanted: int) -> Admission:
        """How many of them may go to it, by its breakers; what is not used is told of with `unused`."""
        if not self._breakers.troubled:
            return Admission(wanted)
        admission = Admission(wanted)
        for number, gate in enumerate(self._gates(destination)):
            asked = admission.messages
            admission = self._breakers.admit(gate, asked)
            refused = asked - admission.messages
            for before in self._gates(destination)[: number if refused else 0]:
                self._breakers.land(before, 0, refused)
            if admission.messages == 0:
                # the others need not be asked, and would have nothing to wait for
                break
        return admission

    def unused(self, destination: str, messages: int) -> None:
        """Admitted, and not claimed."""
        if messages > 0 and self._breakers.troubled:
            for gate in self._gates(destination):
                self._breakers.land(gate, 0, messages)

    def _gates(self, destination: str) -> tuple[str, ...]:
        """The breakers that are asked before a claim; what no table lists is asked for one by one, by the courier."""
        relay = (RELAY.gate,) if self._courier.door is not None else ()
        return (*relay, f"destination:{destination}") if destination else relay

    def wait(self, seconds: float) -> None:
        """Until a conversation ends, or `seconds` are over."""
        self._pace.wait(seconds)

    @property
    def turns(self) -> Turns:
        """Of rows that were deferred for it at a hop that takes its time."""
        return self._courier.turns

    def prepare(self, publication: str, campaign_id: int) -> bool:
        """Compile before the first tokens are taken, or they would all be spent at once after it.

        False: no mail can be made of it, and the campaign has failed.
        """
        try:
            self._composer.prepare(publication, campaign_id)
        except PermanentError as error:
            self._fail(campaign_id, str(error))
            return False
        return True

    def send(self, claim: Claim) -> None:
        """Hand a claim's deliveries to the courier. A mail that cannot be made ends its deliveries here.

        Where it raises, none was handed over, and what breakers admitted for them is still the caller's to land.
        """
        if not claim.claimed:
            return
        jobs, faults = [], {}
        try:
            self._recorder.expect(claim.lease)
            for one in claim.claimed:
                try:
                    jobs.append(Job(one, claim.lease, self._composer.mail_for(one)))
                except PermanentError as error:
                    faults[one] = str(error)
            self._fail_campaigns(faults)
        except BaseException:
            # a database that is away just now, a time limit: without results the lease would be renewed for ever
            for one in claim.claimed:
                self._recorder.take(Result(one, self._clock.now(), None))
            raise
        if jobs:
            self._courier.submit(jobs)
        self._unmakeable(faults)

    @property
    def must_drain(self) -> bool:
        """Whether the journal has grown so large that it should start afresh soon."""
        return self._journal.large

    def drain(self, seconds: float) -> None:
        """Wait until all is recorded, `seconds` at most; then the journal starts afresh.

        Where something is always under way (a server that takes its minutes), it keeps what is, and no more.
        """
        idle = self._recorder.wait_idle(seconds)
        leases = self._recorder.leases
        if idle and not leases:
            self._journal.truncate()
        elif self._journal.large:
            self._courier.compact_journal(leases)

    def close(self) -> None:
        self._courier.stop(_STOP_SECONDS)
        idle = self._recorder.wait_idle(_STOP_SECONDS)
        if self._recorder.stop(_LAST_SET_SECONDS) and idle:
            self._journal.close()

    def _unmakeable(self, faults: Mapping[Claimed, str]) -> None:
        for destination, n in Counter(one.destination for one in faults).items():
            self.unused(destination, n)
        now = self._clock.now()
        for one, why in faults.items():
            self._recorder.take(Result(one, now, None, fault="" if one.campaign_id else why))

    def _fail_campaigns(self, faults: Mapping[Claimed, str]) -> None:
        """A broken template stops a campaign; its rows go back, so that a mended one can send them."""
        for campaign_id, why in {one.campaign_id: why for one, why in faults.items() if one.campaign_id}.items():
            self._fail(campaign_id, why)

    def _fail(self, campaign_id: int, why: str) -> None:
        with self._database.write() as connection:
            queries.fail_campaign(connection, campaign_id, why)
        log.error("campaign_failed", campaign=campaign_id, why=why)

    def _recorded(self, written: Sequence[Result]) -> None:
        """In the recorder's thread, after the commit."""
        self._pace.done(Counter(one.claimed.destination for one in written if one.exchange is not None))
        self._observe(written)
        _log_outcomes(written)
        # last: it may wait for Redis
        self._breakers.sync()


def _log_outcomes(written: Sequence[Result]) -> None:
    """One line for each delivery that did not go through; never an address."""
    for one in written:
        exchange = one.exchange
        if exchange is not None and exchange.judgement.outcome is not Outcome.ACCEPTED:
            log.info(
                "not_accepted", delivery=one.claimed.id, campaign=one.claimed.campaign_id,
                outcome=str(exchange.judgement.outcome), stage=str(exchange.stage),
                code=exchange.reply.code if exchange.reply else None,
                enhanced=exchange.reply.enhanced if exchange.reply else "",
            )  # fmt: skip
