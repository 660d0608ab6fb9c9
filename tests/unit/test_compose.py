"""The compose file: valid by the Compose specification's own schema, and its commands are ours."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from jsonschema import Draft7Validator

from tests.servers import REPOSITORY
from worker.cli.parts import PARTS
from worker.cli.root import cli
from worker.options import Settings
from worker.settings import PREFIX

_FILE = REPOSITORY / "docker-compose.yml"
_SCHEMA = Path(__file__).parent / "schemas" / "compose-spec.json"
_OURS = {"migrate", "api", "worker-transactional", "worker-bulk", "scheduler", "flower"}
# Read by the health checks alone.
_OWN_WORDS = {"PRESSRUN_CONFIG"}


def _compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(_FILE.read_text("utf-8"))
    return found


def test_it_is_valid_by_the_compose_specification() -> None:
    problems = Draft7Validator(json.loads(_SCHEMA.read_text("utf-8"))).iter_errors(_compose())
    assert [f"{'/'.join(map(str, problem.path))}: {problem.message}" for problem in problems] == []


def test_it_has_the_services_that_a_production_needs() -> None:
    services = _compose()["services"]
    assert set(services) == {"redis", "postgres", "mailpit"} | _OURS
    assert services["mailpit"]["profiles"] == ["dev"]
    assert {"--appendonly", "noeviction"} <= set(services["redis"]["command"])


@pytest.mark.parametrize("name", sorted(_OURS))
def test_each_service_runs_a_command_that_exists(name: str) -> None:
    words: list[str] = _compose()["services"][name]["command"]
    command: click.Command | None = cli.get_command(click.Context(cli), words[0])
    assert command is not None
    with command.make_context(words[0], words[1:]) as context:
        if words[0] == "part":
            assert context.params["name"] in PARTS


def test_everything_that_stays_up_has_a_health_check() -> None:
    without = {name for name, service in _compose()["services"].items() if "healthcheck" not in service}
    assert without == {"migrate"}


def test_what_is_kept_stands_on_volumes_that_are_declared() -> None:
    compose = _compose()
    used = {
        volume.split(":")[0]
        for service in compose["services"].values()
        for volume in service.get("volumes", ())
        if not volume.startswith(".")
    }
    assert used == set(compose["volumes"]) == {"redis", "postgres", "var"}


def test_workers_get_longer_than_their_shutdown_takes() -> None:
    for name in ("worker-transactional", "worker-bulk"):
        grace = _compose()["services"][name]["stop_grace_period"]
        assert int(grace.removesuffix("s")) > Settings.model_fields["shutdown_seconds"].default


_NEEDED = (
    "PRESSRUN_SECRET_KEY", "PRESSRUN_PUBLIC_URL", "PRESSRUN_SMTP_URL", "PRESSRUN_FLOWER_PASSWORD", "POSTGRES_PASSWORD",
)  # fmt: skip


@pytest.mark.parametrize("name", _NEEDED)
def test_it_refuses_to_start_without(name: str) -> None:
    """`${NAME:?why}`: unset and empty both stop it, and the reason is shown."""
    found = re.findall(rf"\$\{{{name}(:\?[^}}]+)?[^}}]*\}}", _FILE.read_text("utf-8"))
    assert found
    assert all(found)


def test_every_variable_it_sets_is_a_setting() -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields} | _OWN_WORDS
    for service in _OURS:
        given = _compose()["services"][service].get("environment", {})
        assert {name for name in given if name.startswith(PREFIX)} <= known


def test_the_databases_are_not_reachable_from_outside() -> None:
    compose = _compose()
    assert compose["networks"]["inside"] == {"internal": True}
    for name in ("redis", "postgres"):
        assert compose["services"][name]["networks"] == ["inside"]
        assert "ports" not in compose["services"][name]
