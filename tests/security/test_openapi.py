"""The API's own description turned against it: schemathesis sends what it allows and what it forbids.

`make fuzz` does the same for longer. Two of its checks are left out: that whatever the description allows is taken,
since an event's data is described in words (docs/events.md); and that a 405 names the methods of one route, where two
routes share a path (an event's id may end in `/replay`).
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.running import TOKEN, running

SECONDS = 20


@contextmanager
def serving_api(folder: Path, **environ: str) -> Iterator[str]:
    """The URL of an API process; `TOKEN` opens all of it."""
    with running(folder, {"PRESSRUN_METRICS_TOKEN": TOKEN, **environ}, ["redis", "api"]) as system, system.api():
        yield system.settings.base_url


def attack(url: str, folder: Path, seconds: int) -> subprocess.CompletedProcess[str]:
    """Everything that schemathesis knows, for so long, against the API at `url`."""
    # it makes up rules of its own out of what we say of bad input, and holds the API to them: after six minutes,
    # `datacontenttype`, which nobody requires, was missing
    (folder / "schemathesis.toml").write_text("[phases.fuzzing.error-feedback]\nenabled = false\n", "ascii")
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "--no-color", "run", f"{url}/openapi.json",
        "--header", f"Authorization: Bearer {TOKEN}", "--max-time", str(seconds), "--seed", "1",
        "--continue-on-failure", "--request-timeout", "30", "--workers", "1", "--suppress-health-check", "all",
        "--exclude-checks", "positive_data_acceptance,allow_header_conformance", "--warnings", "off",
    ]  # fmt: skip
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


# the stricter of the two: SQLite takes any text and any number
@pytest.mark.parametrize("backend", ["postgresql"])
@pytest.mark.timeout(300)
def test_the_description_and_the_api_agree(tmp_path: Path, empty_database_url: str, redis_url: str) -> None:
    with serving_api(tmp_path, PRESSRUN_DATABASE_URL=empty_database_url, PRESSRUN_REDIS_URL=redis_url) as url:
        done = attack(url, tmp_path, SECONDS)
    assert "Traceback" not in (tmp_path / "api.log").read_text("utf-8")
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    selected, tested = re.findall(r"(?:Selected: (\d+)/\d+|Tested: (\d+))", done.stdout)
    assert selected[0] == tested[1] != "0"
