"""What a sink has seen: times by domain, doubles, and what was asked to be watched."""

from __future__ import annotations

import heapq
import json
import time
from array import array
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


def busiest_second(times: Sequence[float]) -> int:
    """The most of these ascending times that lie within one second, wherever it begins."""
    most = begin = 0
    for end, at in enumerate(times):
        while times[begin] <= at - 1.0:
            begin += 1
        most = max(most, end + 1 - begin)
    return most


def per_second(times: Sequence[float]) -> float:
    """Between the first and the last of these ascending times; 0 where there is nothing between."""
    span = times[-1] - times[0] if times else 0.0
    return round((len(times) - 1) / span, 1) if span > 0 else 0.0


def _times() -> defaultdict[bytes, array[float]]:
    return defaultdict(lambda: array("d"))


@dataclass
class Tally:
    watch: bytes = b""
    """Recipients that begin so have their time in the report."""
    size: int = 0
    connections: int = 0
    refused: int = 0
    times: defaultdict[bytes, array[float]] = field(default_factory=_times)
    """{domain: when each message was in, `time.time()`}."""
    recipients: array[int] = field(default_factory=lambda: array("q"))
    """A hash of each recipient: a message that came twice shows."""
    watched: dict[str, float] = field(default_factory=dict)

    def message(self, recipient: bytes, size: int) -> None:
        """`recipient` is the address."""
        now = time.time()
        self.times[recipient.rpartition(b"@")[2]].append(now)
        self.recipients.append(hash(recipient))
        self.size += size
        if self.watch and recipient.startswith(self.watch):
            self.watched.setdefault(recipient.decode(), now)

    def report(self, cpu_seconds: float) -> str:
        """One line of JSON: for all together and, under `domains`, for each."""
        together = list(heapq.merge(*self.times.values()))
        figures = {
            **_figures(together), "recipients": len(set(self.recipients)), "bytes": self.size,
            "connections": self.connections, "refused": self.refused, "cpu_seconds": cpu_seconds,
            "domains": {name.decode(): _figures(times) for name, times in self.times.items()},
            "watched": self.watched,
        }  # fmt: skip
        return json.dumps(figures)


def _figures(times: Sequence[float]) -> dict[str, Any]:
    first, last = (times[0], times[-1]) if times else (0.0, 0.0)
    return {
        "messages": len(times), "first": first, "last": last, "per_second": per_second(times),
        "busiest_second": busiest_second(times),
    }  # fmt: skip
