"""What processes cost: CPU seconds and peak memory by group, from `/proc`."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

Groups = Mapping[str, Callable[[], list[int]]]
"""{name: its process ids now}."""


def family(pid: int) -> list[int]:
    """The process and all below it."""
    try:
        process = psutil.Process(pid)
        return [pid, *(child.pid for child in process.children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


def ticks(stat: str) -> int:
    """User and system time in the text of `/proc/PID/stat`, own and of the children that were waited for.

    proc(5): the name may hold blanks and brackets, so fields are counted behind the last `)`.
    """
    fields = stat.rpartition(")")[2].split()
    return sum(int(one) for one in fields[11:15])


def peak_kb(status: str) -> int:
    """`VmHWM` in the text of `/proc/PID/status`: the most memory it ever had at once; 0 for a kernel thread."""
    found = re.search(r"(?m)^VmHWM:\s*(\d+) kB", status)
    return int(found[1]) if found else 0


def private_kb(status: str) -> int:
    """`RssAnon` in the text of `/proc/PID/status`: what it has now of its own, without what others share with it."""
    found = re.search(r"(?m)^RssAnon:\s*(\d+) kB", status)
    return int(found[1]) if found else 0


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text("utf-8", "replace")
    except OSError:
        return ""


class Account:
    """From here to `close`: children that end in between are counted by who waited for them."""

    def __init__(self, groups: Groups) -> None:
        self._groups = groups
        self._peaks: dict[tuple[str, int], int] = {}
        self._private: dict[tuple[str, int], int] = {}
        self._before = self._seconds()

    def look(self) -> None:
        """Remember the peaks of those that live now."""
        for name, pids in self._groups.items():
            for pid in pids():
                status = _read(pid, "status")
                self._peaks[name, pid] = max(self._peaks.get((name, pid), 0), peak_kb(status))
                self._private[name, pid] = max(self._private.get((name, pid), 0), private_kb(status))

    def cpu_us(self, mails: int) -> dict[str, float]:
        """Microseconds of CPU a mail, by group, since this account was opened."""
        after = self._seconds()
        return {name: round((after[name] - self._before[name]) / mails * 1e6, 1) for name in after}

    def peaks_mb(self) -> dict[str, list[float]]:
        """Peak memory of every process of a group, the largest first. Shared pages count in each that has them."""
        self.look()
        return self._mb(self._peaks)

    def private_mb(self) -> dict[str, list[float]]:
        """The most private memory that was seen at a look, of every process of a group, the largest first."""
        return self._mb(self._private)

    def _mb(self, kb: Mapping[tuple[str, int], int]) -> dict[str, list[float]]:
        found: dict[str, list[float]] = {name: [] for name in self._groups}
        for (name, _), one in kb.items():
            found[name].append(round(one / 1024, 1))
        return {name: sorted(sizes, reverse=True) for name, sizes in found.items()}

    def _seconds(self) -> dict[str, float]:
        hertz = os.sysconf("SC_CLK_TCK")
        return {
            name: sum(ticks(stat) for pid in pids() if (stat := _read(pid, "stat"))) / hertz
            for name, pids in self._groups.items()
        }
