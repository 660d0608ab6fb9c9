"""The API, wired by the real bootstrap over a database of the test's own, with a doorbell that remembers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.integration.web.serving import serving
from tests.unit.intake.making import GHOST_SECRET, SECRET, TOKEN
from worker.bootstrap import System, build
from worker.domain.clock import FakeClock
from worker.domain.doorbell import Doorbell, RecordingDoorbell
from worker.settings import Settings
from worker.web.app import create_app

WEEKLY_TOKEN = "the-token-of-weekly"
SECRETS = {
    "PRESSRUN_DAILY_TOKEN": TOKEN, "PRESSRUN_DAILY_SECRET": SECRET, "PRESSRUN_DAILY_GHOST_SECRET": GHOST_SECRET,
    "PRESSRUN_WEEKLY_TOKEN": WEEKLY_TOKEN,
}  # fmt: skip

_WEEKLY = """
name = "The Weekly"
[sender]
name = "The Weekly"
email = "news@weekly.example"
[brand]
url = "https://weekly.example"
postal_address = "1 Street, Town"
[[lists]]
slug = "posts"
name = "Posts"
[[lists]]
slug = "notes"
name = "Notes"
"""


@pytest.fixture
def config_dir(tmp_path: Path) -> Path:
    """The shipped configuration and a second publication, `weekly`, with two lists."""
    import shutil

    from tests.servers import REPOSITORY

    folder = tmp_path / "config"
    shutil.copytree(REPOSITORY / "config", folder)
    (folder / "publications" / "weekly.toml").write_text(_WEEKLY)
    return folder


@pytest.fixture
def doorbell() -> Doorbell:
    return RecordingDoorbell()


@pytest.fixture
def environ() -> dict[str, str]:
    """Settings of a test's own; parametrise it."""
    return {}


@pytest.fixture
def system(
    make_settings: Callable[..., Settings], database_url: str, redis_url: str, config_dir: Path, clock: FakeClock,
    doorbell: Doorbell, environ: dict[str, str],
) -> Iterator[System]:  # fmt: skip
    settings = make_settings(
        PRESSRUN_CONFIG=str(config_dir / "pressrun.toml"), PRESSRUN_DATABASE_URL=database_url,
        PRESSRUN_REDIS_URL=redis_url, **environ,
    )  # fmt: skip
    system = build(settings, SECRETS, doorbell)
    system.clock = clock
    yield system
    system.database.close()
    system.redis.close()


@pytest.fixture
def url(system: System) -> Iterator[str]:
    """Where the API is served."""
    with serving(create_app(system)) as address:
        yield address


@pytest.fixture
def http(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=20) as client:
        yield client
