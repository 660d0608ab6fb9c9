"""The pages served by a real server over a database of the test's own."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.integration.audience.conftest import Desk
from tests.integration.web.serving import serving
from tests.servers import REPOSITORY
from worker.bootstrap import System, build
from worker.domain.clock import FakeClock
from worker.domain.doorbell import RecordingDoorbell
from worker.domain.tokens import Claim, Purpose
from worker.settings import Settings
from worker.storage.models import DeliveryRow, SubscriptionRow
from worker.web.app import create_app

_WEEKLY = """
name = "The <Weekly>"
[sender]
name = "The Weekly"
email = "news@weekly.example"
[brand]
url = "https://weekly.example"
color = "#ffe600"
postal_address = "1 Street, Town"
[[lists]]
slug = "posts"
name = "Posts"
[[lists]]
slug = "notes"
name = "Notes & such"
description = "Now and then."
"""


@pytest.fixture
def doorbell() -> RecordingDoorbell:
    return RecordingDoorbell()


@pytest.fixture
def environ() -> dict[str, str]:
    """Settings of a test's own; parametrise it."""
    return {}


@pytest.fixture
def system(
    make_settings: Callable[..., Settings], database_url: str, tmp_path: Path, clock: FakeClock,
    doorbell: RecordingDoorbell, environ: dict[str, str],
) -> Iterator[System]:  # fmt: skip
    config = tmp_path / "config"
    shutil.copytree(REPOSITORY / "config", config)
    (config / "publications" / "weekly.toml").write_text(_WEEKLY)
    settings = make_settings(
        PRESSRUN_CONFIG=str(config / "pressrun.toml"), PRESSRUN_DATABASE_URL=database_url, **environ
    )
    system = build(settings, {}, doorbell)
    system.clock = clock
    yield system
    system.database.close()


@pytest.fixture
def desk(system: System, clock: FakeClock) -> Desk:
    """What tests ask the ledger."""
    return Desk(system.database, clock)


@pytest.fixture
def http(system: System) -> Iterator[httpx.Client]:
    with serving(create_app(system)) as url, httpx.Client(base_url=url, timeout=20) as client:
        yield client


@pytest.fixture
def link(system: System, desk: Desk) -> Callable[..., str]:
    """`link(Purpose.CONFIRM)`: the path that the last mail's link has."""
    paths = {Purpose.CONFIRM: "confirm", Purpose.UNSUBSCRIBE: "unsubscribe", Purpose.MANAGE: "manage"}

    def make(purpose: Purpose, subscription_id: int = 0) -> str:
        mail = desk.rows(DeliveryRow)[-1]
        found = next(one for one in desk.rows(SubscriptionRow) if one.id == (subscription_id or mail.subscription_id))
        claim = Claim(purpose, found.id, found.generation, int(mail.created_at.timestamp()))
        return f"/{paths[purpose]}/{system.keys.sign(claim)}"

    return make
