"""The sweep: finds what is due, lost or stuck, and rings for it. The queue is a doorbell; this is the ear."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import structlog

from worker.domain.errors import PressrunError

log = structlog.get_logger(__name__)

Look = Callable[[], int]
"""Looks for one kind of thing, deals with it, and says how many there were."""


class Sweep:
    """Runs each look by itself: one that fails leaves the others their turn, and is tried again next time."""

    def __init__(self, looks: Mapping[str, Look], found: Callable[[str, int], None]) -> None:
        self._looks = looks
        self._found = found

    def run(self) -> dict[str, int]:
        """What was found, by kind."""
        findings = {}
        for kind, look in self._looks.items():
            try:
                findings[kind] = look()
            except PressrunError as error:
                log.warning("sweep_failed", look=kind, error=str(error))
                continue
            except Exception:
                log.exception("sweep_broke", look=kind)
                continue
            if findings[kind]:
                self._found(kind, findings[kind])
                log.info("sweep_found", look=kind, n=findings[kind])
        return findings
