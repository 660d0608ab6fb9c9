"""Connections that a hop may have from all workers together: asked for without holding up the conversations."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

import structlog

from worker.delivery.gates import Leases
from worker.delivery.gates.base import LEASE_SECONDS
from worker.delivery.transports.base import NextHop
from worker.domain.clock import Clock
from worker.domain.errors import TemporaryError

log = structlog.get_logger(__name__)

_T = TypeVar("_T")
_RENEW_SECONDS = LEASE_SECONDS / 3
_numbers = itertools.count(1)


class Permits:
    """For the courier's loop. A hop without a figure asks nobody."""

    def __init__(self, leases: Leases, clock: Clock, loop: asyncio.AbstractEventLoop, process: str) -> None:
        """`process`: its journal's owner, under which it is found dead."""
        self._process = process
        self._leases = leases
        self._clock = clock
        self._loop = loop
        # a thread of its own: Redis may be slow, and nobody else shall wait for it
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="permits")
        self._held: dict[str, str] = {}
        self._renewed_at = clock.ticks()

    async def take(self, hop: NextHop, *, urgent: bool) -> str | None:
        """What to give back once the connection is closed; None where there is none to be had."""
        if not hop.connections:
            return ""
        holder = f"{self._process}:{next(_numbers)}"
        try:
            taken = await self.run(lambda: self._leases.take(hop.gate, hop.connections, holder, urgent=urgent))
        except TemporaryError as error:
            # without an answer there may be none
            log.warning("permit_refused", hop=hop.name, error=str(error))
            return None
        if taken:
            self._held[holder] = hop.gate
        return holder if taken else None

    def give_back(self, permit: str) -> None:
        gate = self._held.pop(permit, None)
        if gate is not None:
            self._threads.submit(self._quietly, lambda: self._leases.give_back(gate, permit))

    def renew(self) -> None:
        """Now and then, for those that are still open."""
        if self._held and self._clock.ticks() >= self._renewed_at + _RENEW_SECONDS:
            self._renewed_at = self._clock.ticks()
            held = [(gate, holder) for holder, gate in self._held.items()]
            self._threads.submit(self._quietly, lambda: self._leases.renew(held))

    async def run(self, ask: Callable[[], _T]) -> _T:
        """In that thread."""
        return await self._loop.run_in_executor(self._threads, ask)

    def close(self) -> None:
        """All are closed: what was given back is told."""
        self._threads.shutdown()

    @staticmethod
    def _quietly(tell: Callable[[], None]) -> None:
        # it ends by itself
        with suppress(TemporaryError):
            tell()
