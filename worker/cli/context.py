"""What commands start from: the settings and, where they need it, the wired system."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from worker.domain.errors import ConfigurationError
from worker.settings import Settings, load_settings

if TYPE_CHECKING:
    from worker.bootstrap import System
    from worker.domain.doorbell import Doorbell
    from worker.storage.database import Database


def settings() -> Settings:
    """Raises `ConfigurationError` naming the key."""
    return load_settings(os.environ)


def system(doorbell: Doorbell | None = None) -> System:
    """The parts, wired. Without a doorbell of its own it rings Celery's; imports Celery, so be sure you need it."""
    from worker.bootstrap import build
    from worker.logs import configure_logging

    found = settings()
    # a command's own words are its output; what its parts log is only of interest when it is amiss
    configure_logging(found.log_format, "DEBUG" if found.log_level == "DEBUG" else "WARNING")
    return build(found, os.environ, doorbell or _celery_doorbell())


def migrated_system(doorbell: Doorbell | None = None) -> System:
    """The same, once the database is found at this version's migration. Raises `ConfigurationError`."""
    built = system(doorbell)
    require_migrated(built.database)
    return built


def require_migrated(database: Database) -> None:
    """Raise `ConfigurationError`, with the fix, unless the database is there and at this version's migration."""
    from worker.storage.migrate import require_current

    path = database.url.database
    if database.is_sqlite and not Path(str(path)).exists():
        # looking at it would make it
        raise ConfigurationError(f"there is no database at {path} yet: run `pressrun db upgrade`")
    require_current(database)


def _celery_doorbell() -> Doorbell:
    from worker.app import CeleryDoorbell, app

    return CeleryDoorbell(app)
