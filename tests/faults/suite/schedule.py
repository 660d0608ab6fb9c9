"""From a seed: which faults, when and with what draws; and what the people outside do meanwhile.

When is a matter of progress (messages received, as a part of those expected), so that a slow machine has the same run.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from tests.faults.suite.bed import Setting
from tests.faults.suite.faults import TABLE, Fault
from tests.faults.suite.inbox import Tls

# How long a campaign takes if nothing gets in its way.
SENDING_SECONDS = 12.0
_TLS: tuple[Tls, ...] = ("none", "none", "none", "starttls", "tls")
_CERTIFICATES = 0.5
_FEWEST, _MOST = 3, 5
# What the people outside do; `again` and `sign_up` come several times.
_ACTS = ("again", "again", "again", "sign_up", "sign_up", "sign_up", "sign_up", "leave", "leave", "leave", "pause",
         "second")  # fmt: skip


@dataclass(frozen=True)
class Step:
    """`at` is a progress; `draw` seeds what the step draws for itself."""

    at: float
    name: str
    draw: int


@dataclass(frozen=True)
class Schedule:
    """One run."""

    seed: int
    setting: Setting
    faults: tuple[Step, ...]
    acts: tuple[Step, ...]

    def __str__(self) -> str:
        setting = self.setting
        head = f"seed {self.seed}, {setting.database}, {setting.readers:,} readers"
        head += f", tls {setting.tls}, unknown: {setting.unknown}"
        steps = sorted((*self.faults, *self.acts), key=lambda one: one.at)
        lines = [f"  {step.at:5.0%}  {step.name}" for step in steps]
        return "\n".join((head, *lines))


def scheduled(
    seed: int, database: str, readers: int, only: Sequence[str] = (), *, sending_seconds: float = SENDING_SECONDS,
    most: int = _MOST,
) -> Schedule:  # fmt: skip
    """`only`: these faults, in this order, instead of drawn ones; of those there are `most` at most."""
    rng = random.Random(f"{seed}/{database}")
    tls = rng.choice(_TLS)
    unknown = rng.choice(("retry", "retry", "retry", "hold"))
    acts = _at_times(rng, _ACTS, 0.02, 0.95)
    possible = sorted(name for name, one in TABLE.items() if _fits(one, database, tls))
    names = rng.sample(possible, rng.randint(_FEWEST, most))
    certificate = f"smtp-certificate-expired-{tls}"
    if certificate in possible and certificate not in names and rng.random() < _CERTIFICATES:
        # few runs speak TLS: most of them see this
        names[0] = certificate
    if only:
        names = list(only)
        tls = next((one for name in names for one in _TLS if TABLE[name].tls == one), tls)
    faults = _at_times(rng, names, 0.05, 0.85)
    if only:
        faults = tuple(Step(step.at, name, step.draw) for step, name in zip(faults, names, strict=True))
    setting = Setting(
        database, readers, max(20.0, readers / sending_seconds), tls=tls, unknown=unknown,
        moves_clock=any(TABLE[name].moves_clock for name in names),
    )  # fmt: skip
    return Schedule(seed, setting, faults, acts)


def _fits(one: Fault, database: str, tls: str) -> bool:
    return one.drawn and database in one.databases and one.tls in ("", tls)


def _at_times(rng: random.Random, names: Sequence[str], first: float, last: float) -> tuple[Step, ...]:
    """Each in its share of the time, in a drawn order."""
    order = rng.sample(list(names), len(names))
    share = (last - first) / len(order)
    return tuple(
        Step(first + share * (n + rng.random()), name, rng.getrandbits(32)) for n, name in enumerate(order)
    )
