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


TABLE: dict[str, Fault] = {}


def fault(
    name: str, *, databases: tuple[str, ...] = BOTH, tls: Tls | str = "", moves_clock: bool = False
) -> Callable[[Act], Act]:
    """Registers a function under a name that schedules and results use."""

    def register(act: Act) -> Act:
        assert name not in TABLE, name
        TABLE[name] = Fault(name, act, databases, tls, moves_clock)
        return act

    return register
