"""What `pressrun up` reads before it starts anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from worker import resources
from worker.cli.up import plan
from worker.domain.errors import ConfigurationError


@pytest.mark.parametrize(
    ("variable", "value"),
    [("PRESSRUN_SMTP_URL", "smtp://relay.example:99999"), ("PRESSRUN_SMTP_URL", "smtp://relay.example?tls=soon")],
)
def test_a_wrong_relay_stops_the_start(tmp_path: Path, variable: str, value: str) -> None:
    environ = {"PRESSRUN_VAR_DIR": str(tmp_path), "PRESSRUN_CONFIG": str(resources.config_dir() / "pressrun.toml")}
    with pytest.raises(ConfigurationError, match=rf"^{variable}: "):
        plan({**environ, variable: value})
