"""One worker process: the parts that send, made when they are first needed, and the chain of bulk turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property

import structlog
from sqlalchemy import Connection

from worker.bootstrap import System
from worker.campaigns import progress, turns
from worker.delivery.bulk import Bulk
from worker.delivery.parcels import Result
from worker.delivery.press import Press, PressSettings
from worker.delivery.spending import Spending
from worker.delivery.sweep import Sweep
from worker.delivery.transactional import Transactional
from worker.delivery.warmup import has_room

log = structlog.get_logger(__name__)

# How long, and how often, the last turn of a campaign looks whether other processes have sent its last mails.
_LAST_MAILS_SECONDS = 1.0
_LOOK_SECONDS = 0.1
# For how long a chain with nothing to do waits for rows that are due in so little.
_AWAIT_TURNS_SECONDS = 3.0
_SOON_SECONDS = 1.0


class Chain:
    """Bulk turns, one after the other: a slot's task sends for one campaign, then rings for the next."""

    def __init__(self, system: System, bulk: Callable[[], Bulk]) -> None:
        self._system = system
        self._bulk = bulk

    def run(self, slot: int, number: int, campaign_id: int) -> None:
        """A double of a number that has started drops out here."""
        system = self._system
        system.guard.check()
        with system.database.write() as connection:
            if not turns.begin(connection, slot, number, system.clock.now()):
                return
        turned = self._bulk().turn(campaign_id)
        log.info(
            "turn", slot=slot, campaign=campaign_id, handed_over=turned.handed_over, rest=round(turned.rest, 1),
            held_until=turned.held_until and turned.held_until.isoformat(),
        )  # fmt: skip
        if not turned.handed_over:
            self._await_turns()
        with system.database.write() as connection:
            following = turns.next_turn(
                connection, turns.Turn(slot, number, campaign_id), system.clock.now(), timedelta(seconds=turned.rest),
                turned.held_until,
            )  # fmt: skip
        if following is not None:
            system.doorbell.bulk(following.slot, following.number, following.campaign_id)
        if following is None or following.campaign_id != campaign_id:
            idle = following is None and not turned.rest and turned.held_until is None
            self._finish(campaign_id, _LAST_MAILS_SECONDS if idle else 0.0)

    def _await_turns(self) -> None:
        """Rows that were deferred for a turn in less than a second come back in time: the sweep is slower than that."""
        system, coming = self._system, self._bulk().coming
        until = system.clock.ticks() + _AWAIT_TURNS_SECONDS
        while coming.wait() <= _SOON_SECONDS and system.clock.ticks() < until:
            with system.database.read() as connection:
                if turns.anybody(connection, system.clock.now()):
                    return
            time.sleep(coming.wait())
            if coming.due():
                system.due.some_retries()

    def _finish(self, campaign_id: int, seconds: float) -> None:
        """Whoever has the last turn says that the campaign is over, and waits so long for the last mails, which may be
        under way in another process. What takes longer is for a sweep to see.
        """
        system = self._system
        until = system.clock.ticks() + seconds
        if seconds:
            self._bulk().drain()
        while True:
            with system.database.write() as connection:
                # asked first: what ends between the two questions is met by the second
                waits = progress.nearly_over(connection, campaign_id)
                over = bool(progress.finish(connection, system.clock.now(), campaign_id))
            if over or not waits or system.clock.ticks() > until:
                return
            time.sleep(_LOOK_SECONDS)


class Station:
    """Close it before its process ends."""

    def __init__(self, system: System) -> None:
        self.system = system
        self._press: Press | None = None
        self.chain = Chain(system, lambda: self.bulk)

    @property
    def press(self) -> Press:
        if self._press is None:
            system = self.system
            self._recover()
            settings = PressSettings(
                system.settings.smtp_connections, system.settings.lease, system.settings.journal_dir, system.warmups
            )
            self._press = Press(
                system.database, system.clock, system.transport, system.composer, system.record_policy, settings,
                self._observe, system.breakers, system.leases,
            )  # fmt: skip
        return self._press

    @cached_property
    def _spending(self) -> Spending:
        return Spending(self.system.limiter)

    def _recover(self) -> None:
        """Whoever comes after a dead process reads its journal: sweeps may all be another host's, which cannot."""
        try:
            # counted as by the sweep: an alert looks at how many
            if found := self.system.recovery.run():
                self._found("expired_leases", found)
        except Exception:
            log.exception("recovery_broke")

    @cached_property
    def bulk(self) -> Bulk:
        system = self.system
        destinations = tuple(one.name for one in system.shaping.groups)
        return Bulk(
            system.database, system.clock, self.press, self._spending, system.limits, destinations, self._waited,
            system.due.some_retries,
        )  # fmt: skip

    @cached_property
    def transactional(self) -> Transactional:
        system = self.system
        return Transactional(system.database, system.clock, self.press, self._spending, system.limits, self._waited)

    def transact(self) -> None:
        """What the transactional task does."""
        self.system.guard.check()
        self.transactional.run()

    @cached_property
    def sweep(self) -> Sweep:
        return Sweep(self._looks(), self._found)

    def mend(self) -> dict[str, int]:
        """One sweep by hand; what it found. Its heartbeat is left out: it would hide that no other sweep runs."""
        looks = {kind: look for kind, look in self._looks().items() if kind != "heartbeat"}
        return Sweep(looks, self._found).run()

    @cached_property
    def retention(self) -> Sweep:
        """What is kept long enough: looked for every hour."""
        system = self.system
        looks = {
            "retention": system.due.retention, "old_campaigns": system.dropper.ring,
            "unconfirmed": system.unconfirmed.forget,
        }  # fmt: skip
        return Sweep(looks, self._found)

    def close(self) -> None:
        if self._press is not None:
            self._press.close()
        self.system.meters.flush()

    # -- what the sweep looks for

    def _looks(self) -> Mapping[str, Callable[[], int]]:
        system = self.system
        return {
            # before anything is rung for
            "restored": lambda: 0 if system.guard.check(ask_all=True) else 1,
            "expired_leases": system.recovery.run,
            "due_retries": system.due.retries,
            "expired": system.due.expired,
            "lost_transactional": self._lost_transactional,
            "unplanned": lambda: self._ring_for(progress.unplanned, system.doorbell.plan),
            "untidy": lambda: self._ring_for(progress.untidy, system.doorbell.tidy),
            "held_for_nothing": self._held_for_nothing,
            "idle_chains": system.slots.follow,
            "finished": self._finished,
            "heartbeat": self._heartbeat,
        }

    def _heartbeat(self) -> int:
        """Last: it says that a sweep has been through. It is no finding."""
        self.system.guard.beat()
        return 0

    def _lost_transactional(self) -> int:
        oldest = self.system.due.oldest_transactional()
        if oldest is None:
            return 0
        self.system.doorbell.transactional(oldest)
        return 1

    def _ring_for(self, find: Callable[[Connection, datetime], Sequence[int]], ring: Callable[[int], None]) -> int:
        with self.system.database.read() as connection:
            found = find(connection, self.system.clock.now())
        for campaign_id in found:
            ring(campaign_id)
        return len(found)

    def _held_for_nothing(self) -> int:
        """Campaigns that wait for a warm-up's next day, and need not any more.

        A part of the allowance came back unsent, the schedule was changed, or a clock that was ahead was set right.
        """
        system, now = self.system, self.system.clock.now()
        with system.database.read() as connection:
            found = [
                campaign_id
                for campaign_id, publication in turns.held(connection, now)
                if publication not in system.warmups or has_room(connection, system.warmups[publication], now)
            ]
        if found:
            with system.database.write() as connection:
                turns.rouse(connection, found)
        return len(found)

    def _finished(self) -> int:
        with self.system.database.write() as connection:
            return len(progress.finish(connection, self.system.clock.now()))

    # -- what is measured

    def _observe(self, written: Sequence[Result]) -> None:
        for lane, bulk in (("bulk", True), ("transactional", False)):
            took = [
                one.exchange.duration
                for one in written
                if one.exchange is not None and (one.claimed.campaign_id is not None) is bulk
            ]
            if took:
                self.system.meters.observe("send_seconds", {"lane": lane}, took)
        self.system.count_unknown(written)
        self._spending.recorded(written)

    def _waited(self, limit: str, seconds: float) -> None:
        self.system.meters.inc("limit_wait_seconds", {"limit": limit}, seconds)

    def _found(self, kind: str, n: int) -> None:
        self.system.meters.inc("sweep_findings", {"kind": kind}, n)
