"""A breaker: stops what goes to a place that throttles, tries it again with one message, and lets it grow.

A value and the moves it makes; who keeps it, and for whom, is not decided here. Times are seconds of the keeper's
clock. The same rules stand in `delivery/gates/breaker.lua` for the one that all workers share.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

# Messages let through are waited for this long: their process may have died with them. Longer than most
# conversations; a slower one only lets another message go beside it.
FLIGHT_SECONDS = 60.0
# Who finds the window full asks again after this.
LOOK_AGAIN_SECONDS = 0.25
# A reply may ask for a day at most; what is longer is a mistake, or meant for somebody else.
LONGEST_ASKED_SECONDS = 86_400.0


class Phase(StrEnum):
    """Where a breaker stands."""

    WHOLE = "whole"
    OPEN = "open"
    """Nothing goes before its time."""
    PROBING = "probing"
    """One message goes; what becomes of it decides."""
    GROWING = "growing"
    """Some go at once, one more each time as many were answered."""


@dataclass(frozen=True, slots=True)
class Pauses:
    """How long a place is left alone: `first` seconds, doubling with each failed probe up to `longest`.

    `full`: so many messages under way at once, and it is whole again. What a reply asks for goes before `first`.
    """

    first: float
    longest: float
    full: int = 10

    def after(self, failures: int, asked: float | None) -> float:
        """Seconds of the pause that follows the nth failure in a row (from 1)."""
        base = self.first if asked is None else min(max(asked, 1.0), LONGEST_ASKED_SECONDS)
        # 2^30 is past any bound; it only keeps the float small
        return float(min(max(self.longest, base), base * 2.0 ** min(failures - 1, 30)))


@dataclass(frozen=True, slots=True)
class Breaker:
    """`window`: messages that may be under way after the pause, of which `flying` are, until `forgotten_at`."""

    failures: int = 0
    until: float = 0.0
    window: int = 0
    flying: int = 0
    heard: int = 0
    """Answered since the window last grew."""
    forgotten_at: float = 0.0
    why: str = ""

    def phase(self, now: float) -> Phase:
        if not self.failures:
            return Phase.WHOLE
        if now < self.until:
            return Phase.OPEN
        return Phase.PROBING if self.window <= 1 else Phase.GROWING


@dataclass(frozen=True, slots=True)
class Admission:
    """How many messages may go now; where none may, seconds until it is worth asking again."""

    messages: int
    wait: float = 0.0


WHOLE = Breaker()


def trip(breaker: Breaker, pauses: Pauses, now: float, asked: float | None, why: str) -> Breaker:
    """It throttled. Several replies in the same moment are one failure; the longest wait asked for holds."""
    if breaker.failures and now < breaker.until:
        if asked is None or now + pauses.after(1, asked) <= breaker.until:
            return breaker
        return replace(breaker, until=now + pauses.after(1, asked), why=why)
    failures = breaker.failures + 1
    return Breaker(failures, now + pauses.after(failures, asked), window=1, why=why)


def admit(breaker: Breaker, now: float, wanted: int) -> tuple[Breaker, Admission]:
    """Let up to `wanted` messages through; each must be told of with `land`."""
    if not breaker.failures or wanted <= 0:
        return breaker, Admission(max(0, wanted))
    if now < breaker.until:
        return breaker, Admission(0, breaker.until - now)
    flying = 0 if now >= breaker.forgotten_at else breaker.flying
    messages = min(wanted, breaker.window - flying)
    if messages <= 0:
        return breaker, Admission(0, LOOK_AGAIN_SECONDS)
    flown = replace(breaker, flying=flying + messages, forgotten_at=now + FLIGHT_SECONDS)
    return flown, Admission(messages)


def land(breaker: Breaker, pauses: Pauses, now: float, heard: int, other: int) -> Breaker:
    """Of those let through, `heard` were answered and not throttled; `other` came back without a word."""
    if not breaker.failures:
        return breaker
    flying = max(0, breaker.flying - heard - other)
    if now < breaker.until:
        # it throttled meanwhile: what was still under way when it did says nothing new
        return replace(breaker, flying=flying)
    window, gathered = breaker.window, breaker.heard + heard
    while gathered >= window:
        gathered -= window
        window += 1
        if window > pauses.full:
            return WHOLE
    return replace(breaker, window=window, flying=flying, heard=gathered)


def shifted(breaker: Breaker, by: float) -> Breaker:
    """With its times on another clock, `by` seconds ahead of the one they are on."""
    return replace(breaker, until=breaker.until + by, forgotten_at=breaker.forgotten_at + by)
