"""Workers that claim and send under one limit, in simulated time: how busy the limit is kept, and who waits.

Each process takes tokens, claims rows for some ms (while one database lock now and then stalls all of them), hands the
mails to its connections and asks again; what the receiver sees comes some ms later. `python -m
tests.unit.throttling.simulation` prints the table that the constants in `throttling/base.py` were chosen by.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from random import Random

from worker.delivery.throttling import InMemoryLimiter, Limit
from worker.domain.clock import FakeClock

WANTED = 40


@dataclass(frozen=True)
class Scene:
    limit: Limit = field(default_factory=lambda: Limit("overall", 500, 1))
    processes: int = 2
    seconds: float = 40
    stall_every: float = 0.7
    """Mean time between stalls of the database; each takes 50 to 100 ms."""
    claim: tuple[float, float] = (0.002, 0.008)
    delay: tuple[float, float] = (0.002, 0.04)
    """From the claim's end to the receiver."""
    urgent_per_second: float = 0
    seed: int = 1


@dataclass
class Seen:
    """All times in seconds from the start."""

    granted: list[float] = field(default_factory=list)
    received: list[float] = field(default_factory=list)
    urgent_waits: list[float] = field(default_factory=list)
    asked: int = 0
    claims: int = 0

    def busy(self, scene: Scene) -> float:
        """Part of what the limit allows that was used."""
        return len(self.granted) / (scene.limit.count / scene.limit.per_seconds * scene.seconds)

    def urgent_p99(self) -> float:
        waits = sorted(self.urgent_waits)
        return waits[int(len(waits) * 0.99)] if waits else 0.0


def most_in_a_window(times: list[float], seconds: float) -> int:
    """The most in any half-open window, to the microsecond."""
    ordered = sorted(round(one * 1e6) for one in times)
    most = start = 0
    for end, at in enumerate(ordered):
        while ordered[start] <= at - seconds * 1e6:
            start += 1
        most = max(most, end - start + 1)
    return most


class _Simulation:
    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.random = Random(scene.seed)
        self.clock = FakeClock()
        self.limiter = InMemoryLimiter(self.clock)
        self.seen = Seen()
        self.now = 0.0
        self.locked_until = 0.0
        self.next_stall = self._pause(scene.stall_every)
        # (time, number, since when urgent mail waits; None: a bulk process)
        self.events: list[tuple[float, int, float | None]] = []

    def run(self) -> Seen:
        self._fill()
        while self.events:
            at, number, since = heapq.heappop(self.events)
            if at >= self.scene.seconds:
                continue
            self.clock.advance(seconds=at - self.now)
            self.now = at
            self._stall()
            again = self._bulk() if since is None else self._urgent(since)
            if again is not None:
                heapq.heappush(self.events, (again, number, since))
        return self.seen

    def _fill(self) -> None:
        self.events = [(self.random.uniform(0, 0.05), number, None) for number in range(self.scene.processes)]
        at = 0.0
        while self.scene.urgent_per_second and at < self.scene.seconds:
            at += self.random.expovariate(self.scene.urgent_per_second)
            self.events.append((at, len(self.events), at))
        heapq.heapify(self.events)

    def _pause(self, mean: float) -> float:
        return self.random.expovariate(1 / mean) if mean else float("inf")

    def _stall(self) -> None:
        while self.next_stall <= self.now:
            self.locked_until = max(self.locked_until, self.next_stall + self.random.uniform(0.05, 0.1))
            self.next_stall += self._pause(self.scene.stall_every)

    def _bulk(self) -> float:
        """Take, claim, send; when this process asks again."""
        self.seen.asked += 1
        grant = self.limiter.take([self.scene.limit], WANTED)
        if not grant.tokens:
            return self.now + grant.wait + self.random.uniform(0.0002, 0.004)
        self.seen.claims += 1
        claimed = max(self.now, self.locked_until) + self.random.uniform(*self.scene.claim)
        self._sent(grant.tokens, claimed)
        return claimed

    def _urgent(self, since: float) -> float | None:
        grant = self.limiter.take([self.scene.limit], 1, urgent=True)
        if not grant.tokens:
            return self.now + grant.wait + self.random.uniform(0, 0.003)
        self.seen.urgent_waits.append(self.now - since)
        self._sent(1, self.now)
        return None

    def _sent(self, tokens: int, claimed: float) -> None:
        self.seen.granted += [self.now] * tokens
        self.seen.received += [claimed + self.random.uniform(*self.scene.delay) for _ in range(tokens)]


def simulate(scene: Scene) -> Seen:
    return _Simulation(scene).run()


def main() -> None:
    def per_second(count: float, seconds: float, urgent: float = 0) -> Scene:
        return Scene(limit=Limit("a", count, 1), seconds=seconds, urgent_per_second=urgent)

    scenes = {
        "500/s, 2 processes": Scene(),
        "1 process": Scene(processes=1),
        "4 processes": Scene(processes=4),
        "8 processes, no stalls": Scene(processes=8, stall_every=0),
        "stall every 0.3 s": Scene(stall_every=0.3),
        "claims of 5-20 ms": Scene(claim=(0.005, 0.02)),
        "up to 80 ms to the receiver": Scene(delay=(0.005, 0.08)),
        "urgent 20/s": Scene(urgent_per_second=20),
        "urgent 45/s": Scene(urgent_per_second=45),
        "urgent 200/s": Scene(urgent_per_second=200),
        "5000/s": per_second(5000, 10),
        "50/s, urgent 3/s": per_second(50, 60, 3),
        "5/s, urgent 0.3/s": per_second(5, 300, 0.3),
        "1/s, urgent 0.05/s": per_second(1, 1200, 0.05),
        "10/min": Scene(limit=Limit("a", 10, 60), seconds=3600),
    }
    for name, scene in scenes.items():
        seen, window = simulate(scene), scene.limit.per_seconds
        print(
            f"{name:28} busy {seen.busy(scene):.3f}  a window: granted {most_in_a_window(seen.granted, window)}, "
            f"received {most_in_a_window(seen.received, window)}  asked {seen.asked / scene.seconds:.0f}/s, claims "
            f"{seen.claims / scene.seconds:.0f}/s  urgent p99 {seen.urgent_p99() * 1000:.0f} ms"
        )


if __name__ == "__main__":
    main()
