"""Lines out of a pipe."""

from __future__ import annotations

import asyncio
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
