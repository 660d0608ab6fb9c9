"""One worker process's parts in the test's own process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from worker.bootstrap import System, build
from worker.domain.doorbell import RecordingDoorbell
from worker.settings import Settings
from worker.station import Station


@pytest.fixture
def station(
    make_settings: Callable[..., Settings], database_url: str, redis_url: str
) -> Iterator[Callable[..., Station]]:
    """`station(smtp_url, PRESSRUN_…="…")`: one worker process's parts in this one."""
    with ExitStack() as stack:

        def make(smtp_url: str, **environ: str) -> Station:
            base = {
                "PRESSRUN_DATABASE_URL": database_url, "PRESSRUN_REDIS_URL": redis_url, "PRESSRUN_SMTP_URL": smtp_url,
                "PRESSRUN_SMTP_CONNECTIONS": "4",
            }  # fmt: skip
            settings = make_settings(**(base | environ))
            system: System = build(settings, os.environ, RecordingDoorbell())
            stack.callback(system.database.close)
            one = Station(system)
            stack.callback(one.close)
            return one

        yield make
