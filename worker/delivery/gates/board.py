"""The breakers as one process sees them: its own memory at once, what all workers share as soon as it can be asked."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Lock

import structlog

from worker.delivery.gates.base import REMEMBERED_SECONDS, BreakerStore
from worker.domain import breaker as moves
from worker.domain.breaker import Admission, Breaker, Pauses
from worker.domain.clock import Clock
from worker.domain.errors import TemporaryError

log = structlog.get_logger(__name__)

PausesOf = Callable[[str, str], Pauses]
"""(breaker, what the reply said or "") → how long it is left alone."""

Opened = Callable[[str, float, str], None]
"""Told where the keeper is told: (breaker, seconds, why). It may raise a `TemporaryError`."""

# How old the picture of the others' breakers may be.
_SYNC_SECONDS = 1.0
# A keeper that does not answer is not asked again before: each question waits for its time-out.
_AWAY_SECONDS = 5.0
# What happened meanwhile; more than a keeper needs to know.
_PENDING = 1000

_Tell = Callable[[BreakerStore], Breaker]


class Breakers:
    """Safe from any thread. Only `admit` and `sync` may wait for the keeper.

    While it is away or was emptied, what this process remembers holds, and is told to it again.
    """

    def __init__(
        self, store: BreakerStore, clock: Clock, pauses_of: PausesOf, opened: Opened = lambda *_: None
    ) -> None:
        self._store = store
        self._opened = opened
        self._clock = clock
        self._pauses_of = pauses_of
        self._known: dict[str, Breaker] = {}
        self.changes = 0
        """Counts up whenever one is whole no more, or whole again."""
        self._pending: deque[tuple[str, _Tell]] = deque(maxlen=_PENDING)
        self._lock = Lock()
        self._asking = Lock()
        self._synced_at = -_SYNC_SECONDS
        self._away_until = 0.0

    @property
    def troubled(self) -> bool:
        """Whether any is not whole; most of the time none is."""
        return bool(self._known)

    def wait(self, name: str) -> float:
        """Seconds until it may be tried; 0 where it may be now."""
        found = self._known.get(name)
        return 0.0 if found is None else max(0.0, found.until - self._clock.ticks())

    def is_whole(self, name: str) -> bool:
        return name not in self._known

    def seen(self) -> dict[str, Breaker]:
        """Those that are not whole, their times as seconds from now."""
        now = self._clock.ticks()
        return {name: moves.shifted(one, -now) for name, one in list(self._known.items())}

    def trip(self, name: str, asked: float | None, why: str) -> None:
        """It throttled."""
        pauses = self._pauses_of(name, why)
        with self._lock:
            before = self._known.get(name, moves.WHOLE)
            after = moves.trip(before, pauses, self._clock.ticks(), asked, why)
            self._set(name, after)
            self._pending.append((name, lambda store: store.trip(name, pauses, asked, why)))
        if after.failures > before.failures:
            pause = round(after.until - self._clock.ticks(), 1)
            log.warning("breaker_opens", breaker=name, why=why, again_in_s=pause, failures=after.failures)

    def land(self, name: str, heard: int, other: int) -> None:
        """Of what went to it, `heard` were answered and not throttled, `other` came back without a word."""
        if self.is_whole(name):
            # while another is not: each of all the mails that go elsewhere comes by here
            return
        pauses = self._pauses_of(name, "")
        with self._lock:
            if name in self._known:
                self._set(name, moves.land(self._known[name], pauses, self._clock.ticks(), heard, other))
                self._pending.append((name, lambda store: store.land(name, pauses, heard, other)))

    def admit(self, name: str, wanted: int) -> Admission:
        """How many messages may go to it now; each is told of with `trip` or `land`."""
        if self.is_whole(name):
            return Admission(wanted)
        wait = self.wait(name)
        if wait > 0:
            return Admission(0, wait)
        shared = self._ask(name, wanted)
        if shared is not None:
            return shared
        with self._lock:
            after, admission = moves.admit(self._known.get(name, moves.WHOLE), self._clock.ticks(), wanted)
            self._set(name, after)
            return admission

    def sync(self) -> None:
        """Tell the keeper what happened here, and see what happened elsewhere, once a second at most."""
        due = self._clock.ticks() >= self._synced_at + _SYNC_SECONDS
        if (due or self._pending) and self._clock.ticks() >= self._away_until:
            with self._asking:
                self._guarded(self._exchange)

    # -- with the keeper

    def _ask(self, name: str, wanted: int) -> Admission | None:
        """The keeper's word, or None where it cannot be asked."""
        if self._clock.ticks() < self._away_until:
            return None
        found: list[Admission] = []
        with self._asking:
            self._guarded(lambda: found.append(self._asked(name, wanted)))
        return found[0] if found else None

    def _asked(self, name: str, wanted: int) -> Admission:
        self._tell()
        answer = self._store.admit(name, wanted)
        if answer is None:
            self._keep(name)
            answer = self._store.admit(name, wanted)
        if answer is None:
            return Admission(wanted)
        self._adopt(name, answer[0])
        return answer[1]

    def _exchange(self) -> None:
        self._tell()
        if self._clock.ticks() < self._synced_at + _SYNC_SECONDS:
            return
        self._synced_at = self._clock.ticks()
        found = self._store.all()
        for name, breaker in found.items():
            self._adopt(name, breaker)
        for name in set(self._known) - set(found):
            self._keep(name)

    def _tell(self) -> None:
        """What has happened here, in order. To one that knows nothing of it, how it stands here says it all."""
        while self._pending:
            name, tell = self._pending[0]
            if self._store.admit(name, 0) is None:
                self._keep(name)
                with self._lock:
                    self._pending = deque((one for one in self._pending if one[0] != name), _PENDING)
            else:
                breaker = tell(self._store)
                with self._lock:
                    self._pending.popleft()
                self._adopt(name, breaker)
            if self.wait(name) > 0:
                self._opened(name, self.wait(name), self._known[name].why)

    def _keep(self, name: str) -> None:
        """It was emptied, and knows nothing of what we remember; what nobody has tried for long goes."""
        with self._lock:
            now, found = self._clock.ticks(), self._known.get(name)
            if found is not None and found.until + REMEMBERED_SECONDS <= now:
                self._set(name, moves.WHOLE)
                found = None
        if found is not None:
            self._store.keep(name, moves.shifted(found, -now))

    def _adopt(self, name: str, breaker: Breaker) -> None:
        """Unless something has happened here that the keeper has not heard of."""
        with self._lock:
            if all(one != name for one, _ in self._pending):
                self._set(name, moves.shifted(breaker, self._clock.ticks()))

    def _set(self, name: str, breaker: Breaker) -> None:
        was = name in self._known
        if breaker.failures:
            self._known[name] = breaker
        else:
            self._known.pop(name, None)
        # last: whoever sees the new count must see the new state
        self.changes += was != bool(breaker.failures)

    def _guarded(self, ask: Callable[[], object]) -> None:
        try:
            ask()
        except TemporaryError as error:
            self._away_until = self._clock.ticks() + _AWAY_SECONDS
            log.warning("breakers_alone", error=str(error))
