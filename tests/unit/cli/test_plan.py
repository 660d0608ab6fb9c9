"""What `pressrun up` reads before it starts anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from worker import resources
from worker.cli.up import plan
from worker.domain.errors import ConfigurationError


@pytest.mark.parametrize(
    ("variable", "value"),
    [("PRESSRUN_SMTP_URL", "smtp://relay.example:99999"), ("PRESSRUN_SMTP_URL", "smtp://relay.example?tls=soon"),
     ("PRESSRUN_SMTP_URL", "smtp://relay.example?tsl=none"), ("PRESSRUN_SMTP_CA_FILE", "/nope"),
     ("PRESSRUN_REDIS_URL", "redis://127.0.0.1:port/0")],
)
def test_a_wrong_relay_stops_the_start(tmp_path: Path, variable: str, value: str) -> None:
    environ = {"PRESSRUN_VAR_DIR": str(tmp_path), "PRESSRUN_CONFIG": str(resources.config_dir() / "pressrun.toml")}
    with pytest.raises(ConfigurationError, match=rf"^{variable}: "):
        plan({**environ, variable: value})


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "flower.example"])
def test_a_flower_that_everybody_could_see_stops_the_start(tmp_path: Path, host: str) -> None:
    environ = {"PRESSRUN_VAR_DIR": str(tmp_path), "PRESSRUN_CONFIG": str(resources.config_dir() / "pressrun.toml")}
    open_ = {**environ, "PRESSRUN_FLOWER_HOST": host}
    with pytest.raises(ConfigurationError, match=rf"^PRESSRUN_FLOWER_PASSWORD: .*PRESSRUN_FLOWER_HOST={host} "):
        plan(open_)
    assert plan({**open_, "PRESSRUN_FLOWER_PASSWORD": "secret"}).settings.flower_host == host
    assert plan({**environ, "PRESSRUN_FLOWER_HOST": "127.0.0.2"}).settings.flower_password == ""
