"""Lines out of a pipe."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

# A line longer than this is passed on in pieces: a part that never ends its line must not fill our memory.
_LONGEST = 65536


class Lines(asyncio.Protocol):
    """Calls `heard` with each line, decoded and without its end; `ended` is set when no more can come."""

    def __init__(self, heard: Callable[[str], None]) -> None:
        self._heard = heard
        self._rest = b""
        self.ended = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._pass(line)
        if len(self._rest) > _LONGEST:
            self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._flush()
        self.ended.set()

    def _flush(self) -> None:
        if self._rest:
            self._pass(self._rest)
            self._rest = b""

    def _pass(self, line: bytes) -> None:
        self._heard(line.decode("utf-8", "replace").rstrip("\r"))


# What the embedded server says at every start and stop. Its advice about the host's memory and pages is for a
# database of many gigabytes that forks; ours holds doorbells, and what it loses the sweep rings again.
_IDLE = re.compile(
    r"Memory overcommit must be enabled|Transparent Huge Pages|Received SIGTERM scheduling shutdown|now ready to exit"
)


def worth_a_line(line: str) -> bool:
    """Whether a part's line tells somebody something."""
    return bool(line.strip()) and _IDLE.search(line) is None
