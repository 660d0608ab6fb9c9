"""What an operator sees of a warm-up: how much of the day is used, what waits, and when it goes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert

from tests.integration.cli.command import environment, run
from tests.ledger import seed_campaign
from tests.servers import REPOSITORY
from worker.cli.warmups import warmup_findings, warmup_lines
from worker.domain.warmup import Lane, Warmup
from worker.storage.database import Database
from worker.storage.models import WarmupDayRow

Warming = Callable[[str], dict[str, str]]


@pytest.fixture
def warming(tmp_path: Path) -> Warming:
    """`warming(start)`: the environment of a system whose domain is new from then on; schedule 400, 700."""

    def make(start: str) -> dict[str, str]:
        shutil.copytree(REPOSITORY / "config", tmp_path / "config")
        path = tmp_path / "config" / "publications" / "daily.toml"
        text = path.read_text("utf-8").replace("[sender]", f"[warmup]\nstart = {start}\n\n[sender]", 1)
        path.write_text(text, "utf-8")
        environ = environment(
            tmp_path, PRESSRUN_CONFIG=str(tmp_path / "config" / "pressrun.toml"), PRESSRUN_WARMUP_SCHEDULE="400, 700"
        )
        assert run(environ, "db", "upgrade").returncode == 0
        return environ

    return make


def seed(tmp_path: Path, queued: int, used: dict[Lane, int]) -> None:
    """The same for today and tomorrow, as it may just be becoming."""
    database = Database(f"sqlite:///{tmp_path}/var/pressrun.db")
    today = datetime.now(UTC)
    seed_campaign(database, today, queued)
    with database.write() as connection:
        for day in (today.date(), today.date() + timedelta(days=1)):
            for lane, n in used.items():
                connection.execute(insert(WarmupDayRow).values(domain="blog.example", day=day, lane=lane, used=n))
    database.close()


def test_status_says_how_far_a_warm_up_is(warming: Warming, tmp_path: Path) -> None:
    """A start that is to come: the day is no number yet, and has the first one's allowance."""
    environ = warming("2999-01-01")
    seed(tmp_path, 30, {Lane.BULK: 335, Lane.TRANSACTIONAL: 12})
    seen = json.loads(run(environ, "status", "--json").stdout)
    assert set(seen) == {"breakers", "campaigns", "queues", "warmup"}
    (one,) = seen["warmup"]
    tomorrow = date.fromisoformat(one["last_on"])
    assert one == {
        "domain": "blog.example", "day": (tomorrow - date(2999, 1, 1)).days, "days": 2,
        "used": 347, "allowance": 400, "waiting": 5,
        "next_at": f"{tomorrow}T00:00:00+00:00", "last_on": f"{tomorrow}",
    }  # fmt: skip
    lines = run(environ, "status").stdout.splitlines()
    assert lines[-1].startswith("warm-up of blog.example: starts in ")
    assert f"347 of 400 mails used; 5 mails more from {tomorrow} 00:00 UTC, the last on {tomorrow}" in lines[-1]


def test_a_warm_up_that_is_over_is_not_shown(warming: Warming, tmp_path: Path) -> None:
    environ = warming("2020-01-01")
    seed(tmp_path, 3, {})
    assert json.loads(run(environ, "status", "--json").stdout)["warmup"] == []
    assert "warm-up" not in run(environ, "status").stdout


def test_a_wrong_publication_hides_nothing_else(warming: Warming, tmp_path: Path) -> None:
    """What waits in the ledger is told all the same; that warm-ups are not known is said."""
    environ = warming("soon")
    seed(tmp_path, 3, {})
    seen = json.loads(run(environ, "status", "--json").stdout)
    assert seen["queues"]["bulk"]["depth"] == 3
    assert seen["warmup"] is None
    assert "Warm-ups are not known: the publications cannot be read" in run(environ, "status").stdout
    check = run(environ, "check")
    assert check.returncode == 1
    assert "daily.toml" in check.stdout


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({}, "warm-up of blog.example: day 3 of 28, 399 of 400 mails used"),
        ({"day": 0, "allowance": 1}, "warm-up of blog.example: starts in 1 day, 399 of 1 mail used"),
        (
            {"waiting": 12_345, "next_at": "2025-02-12T00:00:00+00:00", "last_on": "2025-02-18"},
            "warm-up of blog.example: day 3 of 28, 399 of 400 mails used; 12,345 mails more from 2025-02-12 00:00 UTC, "
            "the last on 2025-02-18",
        ),
        (
            {"waiting": 1, "next_at": "2025-02-12T00:00:00+00:00", "last_on": None},
            "warm-up of blog.example: day 3 of 28, 399 of 400 mails used; 1 mail more from 2025-02-12 00:00 UTC, "
            "the last in more than a year",
        ),
    ],
)
def test_a_line_for_each_domain(changed: dict[str, object], line: str) -> None:
    one = {
        "domain": "blog.example", "day": 3, "days": 28, "used": 399, "allowance": 400, "waiting": 0, "next_at": None,
        "last_on": None,
    }  # fmt: skip
    assert list(warmup_lines([one | changed])) == [line]


@pytest.mark.parametrize(
    ("schedule", "today", "words"),
    [
        ((150, 250), date(2025, 2, 9), "day 1 of 2, 150 mails"),
        ((150, 250), date(2025, 2, 1), "day 1 of 2, 150 mails, from 2025-02-09 on more"),
        ((150, 250), date(2025, 2, 11), "over; [warmup] may go from its publication's file"),
        ((50, 500, 900, 5000), date(2025, 2, 10), "day 2 of 4, 500 mails; day 2, 4: more than twice the day before"),
    ],
)
def test_check_says_which_day_it_is_and_what_is_steep(schedule: tuple[int, ...], today: date, words: str) -> None:
    one = Warmup("blog.example", date(2025, 2, 9), schedule, 0.1)
    (finding,) = warmup_findings({"daily": one, "weekly": one}, today)
    assert (finding.ok, finding.what) == (True, "warm-up of blog.example")
    assert finding.words.startswith(words)
