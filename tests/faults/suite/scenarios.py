"""Runs with criteria of their own: the figures that the project answers for."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tests.faults.suite.auditor import Finding
from tests.faults.suite.bed import CONNECTIONS, Setting
from tests.faults.suite.books import Books
from tests.faults.suite.run import Result, run
from tests.faults.suite.schedule import Schedule, Step

KILLS = 20
# Each waits until somebody sends again, and the campaign goes on while one of several processes is gone.
_KILLED_BY = 0.55
EMPTIED = 3
# What the receiving server may see above a limit, for the network's jitter: promise 6.
_JITTER = 1.05
_LATER_SECONDS = 60.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Scenario:
    """`play` performs it on one database and says its figures; what is not as it must be is a finding of the result."""

    readers: int
    play: Callable[[str, int, int, Say], Result]


def _steps(seed: int, names: list[str], last: float = 1.0) -> tuple[Step, ...]:
    """Evenly over the campaign, or the first part of it."""
    rng = random.Random(seed)
    return tuple(Step(last * (n + 1) / (len(names) + 1), name, rng.getrandbits(32)) for n, name in enumerate(names))


def _perform(schedule: Schedule) -> Result:
    with tempfile.TemporaryDirectory(prefix="pr-faults-") as folder:
        return run(schedule, Path(folder) / "run")


def kills(database: str, readers: int, seed: int, say: Say) -> Result:
    """SIGKILL of random worker processes, at full speed: nothing lost, few doubles."""
    setting = Setting(database, readers, None)
    result = _perform(Schedule(seed, setting, _steps(seed, ["kill-any-worker"] * KILLS, _KILLED_BY), ()))
    doubles, most = result.verdict.doubles.total(), KILLS * CONNECTIONS
    last = max(one.at for one in result.books.receipts)
    meanwhile = sum(one.at < last for one in result.books.history.killed)
    say(
        f"{KILLS} kills, {meanwhile} before the last mail, {readers:,} recipients: {doubles} doubles, {most} allowed "
        f"(x {CONNECTIONS} connections)"
    )
    if meanwhile < KILLS:
        result.verdict.findings.append(Finding("slow", f"{KILLS - meanwhile} kills came when all was sent"))
    if doubles > most:
        result.verdict.findings.append(Finding("doubled", f"{doubles} doubles, more than {most}"))
    return result


def emptied(database: str, readers: int, seed: int, say: Say) -> Result:
    """FLUSHALL three times, against the same campaign without."""
    rate = readers / 20
    setting = Setting(database, readers, rate)
    without = _perform(Schedule(seed, setting, (), ()))
    result = _perform(replace(Schedule(seed, setting, (), ()), faults=_steps(seed, ["redis-emptied"] * EMPTIED)))
    later = _took(result.books) - _took(without.books)
    most = most_in_a_second(result.books)
    say(
        f"emptied {EMPTIED} times: {result.verdict.doubles.total()} doubles; done {later:.1f} s later than without; "
        f"at most {most} mails in a second, where {rate:g} are allowed (without: {most_in_a_second(without.books)})"
    )
    result.verdict.findings += [*_exceeded(most, rate), *without.verdict.findings]
    if later > _LATER_SECONDS:
        result.verdict.findings.append(Finding("slow", f"{later:.0f} s later, more than {_LATER_SECONDS:.0f}"))
    if result.verdict.doubles.total():
        result.verdict.findings.append(Finding("doubled", "an emptied Redis must double nothing"))
    return result


def _exceeded(most: int, rate: float) -> Iterator[Finding]:
    """A limiter that has forgotten everything may grant a second's worth once more, and no more than that."""
    if most > rate * (_JITTER + 1):
        yield Finding("limit", f"{most} in a second, more than a second's worth above {rate:g}")


def host_lost(database: str, readers: int, seed: int, say: Say) -> Result:
    """All processes and the journals gone at half of it: doubles are what was sent and not in the database yet."""
    setting = Setting(database, readers, None)
    result = _perform(Schedule(seed, setting, (Step(0.5, "host-lost", seed),), ()))
    doubles, most = result.verdict.doubles.total(), result.books.history.unrecorded
    say(f"host lost: {doubles} doubles; {most} mails stood in the journals only, so many are allowed")
    if doubles > most:
        result.verdict.findings.append(Finding("doubled", f"{doubles} doubles, more than {most}"))
    return result


def _took(books: Books) -> float:
    return max(one.at for one in books.receipts) - min(one.at for one in books.receipts)


def most_in_a_second(books: Books) -> int:
    """The most messages that the receiving server took in any one second."""
    times = sorted(one.at for one in books.receipts)
    first = most = 0
    for last, at in enumerate(times):
        while times[first] <= at - 1:
            first += 1
        most = max(most, last - first + 1)
    return most


SCENARIOS = {
    "kills": Scenario(20_000, kills),
    "emptied": Scenario(2000, emptied),
    "host-lost": Scenario(5000, host_lost),
}
