"""The table that each fault puts itself into."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from tests.faults.suite.bed import Bed
from tests.faults.suite.inbox import Tls

Act = Callable[[Bed, random.Random], str]
"""Does it, waits until it is over, and says what was done. All it draws, it draws from the generator."""

BOTH = ("sqlite", "postgresql")


@dataclass(frozen=True)
class Fault:
    """`databases`: where it makes sense. `tls`: what the run must speak for it, "" for anything."""

    name: str
    act: Act
    databases: tuple[str, ...] = BOTH
    tls: Tls | str = ""
    moves_clock: bool = False
    drawn: bool = True
    """False: only for the scenario that needs it."""


TABLE: dict[str, Fault] = {}


def fault(
    name: str, *, databases: tuple[str, ...] = BOTH, tls: Tls | str = "", moves_clock: bool = False,
    drawn: bool = True,
) -> Callable[[Act], Act]:
    """Registers a function under a name that schedules and results use."""

    def register(act: Act) -> Act:
        assert name not in TABLE, name
        TABLE[name] = Fault(name, act, databases, tls, moves_clock, drawn)
        return act

    return register
