"""Commands as a user types them, without any part running: what they say, and what they leave."""

from __future__ import annotations

import io
import json
import logging
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from redis import Redis
from sqlalchemy import update

from tests.integration.cli.command import environment, run
from tests.ledger import seed_campaign, statuses, tallies
from tests.nameserver import NameServer
from tests.running import post_event, signup_event
from tests.servers import free_port
from tests.smtpd import SmtpServer
from worker.cli import root
from worker.cli.check import findings
from worker.delivery.gates import RedisBreakers
from worker.domain.breaker import Pauses
from worker.domain.clock import SystemClock
from worker.storage.database import Database
from worker.storage.models import CampaignRow

_IMPORT = ("import", "-", "--publication", "daily", "--list", "posts")


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("migrated")
    done = run(environment(folder), "db", "upgrade")
    assert "the database went from empty to" in done.stdout, done.stderr
    return folder / "var" / "pressrun.db"


@pytest.fixture
def environ(tmp_path: Path, migrated: Path) -> dict[str, str]:
    """A migrated database and nothing else."""
    (tmp_path / "var").mkdir()
    shutil.copy(migrated, tmp_path / "var" / "pressrun.db")
    return environment(tmp_path)


@pytest.fixture
def here(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """That environment in this process, which is quicker to ask; its logging is put back."""
    for name in os.environ:
        if name.startswith("PRESSRUN_"):  # servers given for the tests are not this system's
            monkeypatch.delenv(name)
    for name, value in environ.items():
        if name.startswith("PRESSRUN_"):
            monkeypatch.setenv(name, value)
    root_logger = logging.getLogger()
    handlers, level = list(root_logger.handlers), root_logger.level
    yield
    root_logger.handlers[:] = handlers
    root_logger.setLevel(level)
    structlog.reset_defaults()


def test_events_from_a_file(environ: dict[str, str]) -> None:
    """Accepted without API and Redis; the same again is a duplicate; a bad one is named and the others go on."""
    bad = signup_event("cy@example.com")
    bad["data"]["subscriber"]["email"] = "cy@\nexample.com"
    lines = "\n".join(json.dumps(event) for event in (signup_event("bo@example.com"), bad, post_event()))
    first = run(environ, "emit", "-", text=lines)
    assert first.returncode == 1
    assert [line.split()[1] for line in first.stdout.splitlines()] == ["accepted", "accepted"]
    (complaint,) = [line for line in first.stderr.splitlines() if line.startswith("<stdin>:2")]
    assert "data.subscriber.email" in complaint
    again = run(environ, "emit", "-", text=json.dumps(signup_event("bo@example.com")))
    assert again.returncode == 0
    assert again.stdout.split()[1] == "duplicate"
    changed = signup_event("bo@example.com")
    changed["data"]["subscriber"]["name"] = "Somebody else"
    conflict = run(environ, "emit", "-", text=json.dumps(changed))
    assert conflict.returncode == 1
    seen = json.loads(run(environ, "status", "--json").stdout)
    assert [one["post"] for one in seen["campaigns"]] == ["post-1"]
    assert seen["queues"]["transactional"]["depth"] == 1


def test_readers_from_a_csv(environ: dict[str, str]) -> None:
    csv = "email,name,vip\nana@example.com,Ana,1\nnot an address,X,\nbo@example.com,Bo,\n"
    first = run(environ, *_IMPORT, text=csv)
    assert first.returncode == 0, first.stderr
    assert first.stderr == "line 3: email: is not an email address: An email address must have an @-sign, skipped\n"
    assert first.stdout.startswith("2 rows: 2 new on posts")
    assert first.stdout.endswith("; 1 bad row skipped\n")
    assert "0 new on posts, 2 there already" in run(environ, *_IMPORT, text=csv).stdout


def test_a_csv_in_latin_1_is_one_clear_line(environ: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "readers.csv"
    path.write_bytes("email,name\nana@example.com,José\n".encode("latin-1"))
    done = run(environ, "import", str(path), "--publication", "daily", "--list", "posts")
    assert done.returncode == 1
    assert "2" in done.stderr
    assert "UTF-8" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("import", "-", "--publication", "x", "--list", "posts"), "there is no publication 'x'; there is only: daily"),
        (("import", "-", "--publication", "daily", "--list", "x"), "daily has no list 'x'; it has posts"),
        (("preview", "--publication", "x"), "there is no publication 'x'; there is only: daily"),
        (("pause", "7"), "there is no campaign 7"),
        (("deliveries", "--campaign", "7"), "there is no campaign 7"),
        (("delivery", "7"), "there is no delivery 7"),
        (("test-send", "none", "--to", "a@example.com"), "there is no campaign and no post 'none'"),
        (("suppress", "a@"), "ADDRESS: is not an email address"),
        (("unsuppress", "a@example.com"), "a@example.com is not suppressed"),
    ],
)
@pytest.mark.usefixtures("here")
def test_what_is_not_there_is_named(
    arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert root.run(arguments) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert words in said.err
    assert said.err.count("\n") == 1


@pytest.mark.usefixtures("here")
def test_suppression_and_erasure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*arguments: str, code: int = 0) -> str:
        assert root.run(arguments) == code
        found = capsys.readouterr()
        return found.out or found.err

    path = tmp_path / "readers.csv"
    path.write_text("email\nana@example.com\n", "utf-8")
    assert "1 new on posts" in said("import", str(path), *_IMPORT[2:])
    assert said("suppress", "Ana@Example.com") == "Ana@example.com is suppressed\n"
    assert "suppressed already" in said("suppress", "ana@example.com")
    assert "no longer suppressed" in said("unsuppress", "ana@example.com")
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert "Erase everything known of ana@example.com?" in said("erase", "ana@example.com", code=130)
    assert "erased: 1 subscriber(s)" in said("erase", "ana@example.com", "--yes")
    assert "nothing is known of" in said("erase", "ana@example.com", "--yes", code=1)


def test_a_database_of_another_version_is_refused_with_the_fix(environ: dict[str, str]) -> None:
    assert run(environ, "db", "state").returncode == 0
    ledger = Path(environ["PRESSRUN_VAR_DIR"]) / "pressrun.db"
    with sqlite3.connect(ledger) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    newer = run(environ, "emit", "-", text="{}")
    assert newer.returncode == 1
    assert "newer" in newer.stderr
    assert newer.stderr.count("\n") == 1
    assert run(environ, "db", "state").returncode == 1
    worker = run(environ, "part", "bulk")
    assert worker.returncode == 1
    assert "newer" in worker.stderr
    ledger.unlink()
    missing = run(environ, "emit", "-", text="{}")
    assert "run `pressrun db upgrade`" in missing.stderr
    assert not ledger.exists()


def test_going_back_asks_for_a_yes(environ: dict[str, str]) -> None:
    refused = run(environ, "db", "downgrade", "base")
    assert refused.returncode != 0
    assert "--yes" in refused.stderr
    assert run(environ, "db", "state").returncode == 0
    assert "base" in run(environ, "db", "downgrade", "base", "--yes").stdout


def test_deliveries_of_a_campaign_are_dropped_when_it_is_over_and_one_says_yes(environ: dict[str, str]) -> None:
    database = Database(f"sqlite:///{Path(environ['PRESSRUN_VAR_DIR']) / 'pressrun.db'}")
    campaign_id = seed_campaign(database, SystemClock().now(), 3).campaign_id
    command = ("db", "drop-deliveries", str(campaign_id))
    refused = run(environ, *command, "--yes")
    assert refused.returncode == 1
    assert f"campaign {campaign_id} is sending and may still need its deliveries" in refused.stderr
    with database.write() as connection:
        over = {"status": "finished", "finished_at": SystemClock().now()}
        connection.execute(update(CampaignRow).values(over))
    asked = run(environ, *command, text="n\n")
    assert asked.returncode == 130
    assert f"campaign {campaign_id} of daily (post post-1), finished on" in asked.stdout
    assert "3 deliveries go, with their attempts. Its counts stay" in asked.stdout
    assert sum(statuses(database).values()) == 3
    # nobody there to answer is no yes
    assert run(environ, *command).returncode == 130
    assert "3 deliveries dropped" in run(environ, *command, text="y\n").stdout
    assert (statuses(database), tallies(database)) == ({}, {"queued": 3})
    assert f"campaign {campaign_id} has no deliveries" in run(environ, *command).stdout
    assert "there is no campaign 4711" in run(environ, "db", "drop-deliveries", "4711").stderr
    database.close()


@pytest.mark.parametrize(
    "command", [("pause",), ("status",), ("delivery",), ("deliveries", "--status", "sent", "--campaign")]
)
def test_a_number_too_large_for_any_id_is_named(environ: dict[str, str], command: tuple[str, ...]) -> None:
    done = run(environ, *command, "99999999999999999999")
    assert done.returncode == 2
    assert "99999999999999999999" in done.stderr
    assert "fault of Pressrun" not in done.stderr


def _dns(name: str) -> list[str] | None:
    return {"blog.example": ["v=spf1 -all"]}.get(name)


@pytest.mark.usefixtures("here")
def test_check_names_what_is_missing_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRESSRUN_SMTP_URL", "smtp://127.0.0.1:1")
    monkeypatch.setenv("PRESSRUN_API_PROT", "1")
    found = {one.what: one for one in findings("me@example.com", _dns)}
    good = {"configuration", "publication daily", "limits", "templates", "database", "SPF blog.example"}
    bad = {"PRESSRUN_API_PROT", "redis", "relay", "DKIM blog.example", "DMARC blog.example", "mail of daily"}
    assert {what for what, one in found.items() if one.ok} == good
    assert {what for what, one in found.items() if not one.ok} == bad
    assert found["relay"].words == found["mail of daily"].words
    assert found["relay"].words.startswith("PRESSRUN_SMTP_URL: no connection to 127.0.0.1:1: ")
    assert found["relay"].words.endswith("; start that server, or correct the URL")
    assert "`pressrun up` starts the embedded one, or set PRESSRUN_REDIS_URL" in found["redis"].words


@pytest.mark.usefixtures("here")
def test_check_names_the_redis_that_a_setting_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRESSRUN_REDIS_URL", "redis://:hunter2@127.0.0.1:1/0")
    (found,) = [one for one in findings(None, _dns) if one.what == "redis"]
    assert not found.ok
    assert found.words.startswith("PRESSRUN_REDIS_URL: no Redis answers at 127.0.0.1:1/0: ")
    assert found.words.endswith("Connection refused; start that server, or correct the URL")


@pytest.mark.usefixtures("here")
def test_check_makes_no_database(environ: dict[str, str]) -> None:
    ledger = Path(environ["PRESSRUN_VAR_DIR"]) / "pressrun.db"
    ledger.unlink()
    (found,) = [one for one in findings(None, _dns) if one.what == "database"]
    assert (found.ok, found.words) == (False, f"there is no database at {ledger} yet: run `pressrun db upgrade`")
    assert not ledger.exists()


@pytest.mark.usefixtures("here")
def test_check_sends_a_mail_through_the_relay(monkeypatch: pytest.MonkeyPatch) -> None:
    with SmtpServer() as relay:
        monkeypatch.setenv("PRESSRUN_SMTP_URL", relay.url)
        found = {one.what: one for one in findings("me@example.com", _dns)}
    assert found["relay"].ok
    assert found["mail of daily"].words.startswith("me@example.com was accepted: 250")


@pytest.mark.usefixtures("here")
def test_check_stops_at_a_wrong_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRESSRUN_DAILY_SECRET", "whsec_short")
    (found,) = findings(None, _dns)
    assert not found.ok
    assert "PRESSRUN_DAILY_SECRET" in found.words


@pytest.mark.usefixtures("here")
def test_preview_writes_what_is_sent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert root.run(["preview", "confirmation", "--out", str(tmp_path / "out")]) == 0
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".html", ".txt", ".eml"}
    capsys.readouterr()
    assert root.run(["preview", "--text"]) == 0
    assert capsys.readouterr().out.startswith("Subject: ")


def test_status_names_who_throttles_and_says_so_where_redis_is_away(environ: dict[str, str], redis_url: str) -> None:
    assert json.loads(run(environ, "status", "--json").stdout)["breakers"] is None
    with Redis.from_url(redis_url) as client:
        RedisBreakers(client).trip("destination:yahoo", Pauses(7190, 7190), None, "421 4.7.0 [TSS04] deferred")
    there = {**environ, "PRESSRUN_REDIS_URL": redis_url}
    (breaker,) = json.loads(run(there, "status", "--json").stdout)["breakers"]
    assert (breaker["name"], breaker["state"], breaker["failures"]) == ("destination:yahoo", "open", 1)
    assert 7100 < breaker["opens_in_s"] <= 7190
    line = "breaker destination:yahoo: open for 1:59:"
    assert [one for one in run(there, "status").stdout.splitlines() if one.startswith(line) and "TSS04" in one]


@pytest.mark.usefixtures("here")
def test_a_check_without_a_relay_knocks_at_a_mail_server(monkeypatch: pytest.MonkeyPatch) -> None:
    zone = {"reader.example": {"MX": ["10 mx.example."]}, "mx.example": {"A": ["127.0.0.1"]}}
    with SmtpServer() as server, NameServer(zone, failing=("gmail.com",)) as names:
        for name, value in {"URL": "mx://", "MX_PORT": str(server.port), "MX_NAMESERVER": names.address}.items():
            monkeypatch.setenv(f"PRESSRUN_SMTP_{name}", value)
        found = {one.what: one for one in findings("ana@reader.example", lambda _name: [])}
        assert (found["helo"].ok, found["mail servers"].ok) == (True, True)
        assert "PTR" in found["helo"].words
        assert "was accepted" in found["mail of daily"].words
        assert [one.rcpt for one in server.messages] == ["ana@reader.example"]
        dark = {one.what: one for one in findings(None, lambda _name: [])}
    assert not dark["mail servers"].ok
    assert "DNS does not say" in dark["mail servers"].words


@pytest.mark.usefixtures("here")
def test_a_check_says_what_blocks_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    zone = {"gmail.com": {"MX": ["10 mx.example."]}, "mx.example": {"A": ["127.0.0.1"]}}
    with NameServer(zone) as names:
        for name, value in {"URL": "mx://", "MX_PORT": str(free_port()), "MX_NAMESERVER": names.address}.items():
            monkeypatch.setenv(f"PRESSRUN_SMTP_{name}", value)
        found = {one.what: one for one in findings(None, lambda _name: [])}
    assert not found["mail servers"].ok
    assert "port 25" in found["mail servers"].words


@pytest.mark.parametrize("command", [("status",), ("db", "upgrade"), ("audit",)])
def test_a_file_that_is_no_database_is_one_clear_line(tmp_path: Path, command: tuple[str, ...]) -> None:
    environ = environment(tmp_path)
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "pressrun.db").write_bytes(b"no database" * 500)
    done = run(environ, *command)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert "restore it from a backup" in done.stderr


def test_a_database_url_that_is_none_is_one_clear_line(tmp_path: Path) -> None:
    done = run(environment(tmp_path, PRESSRUN_DATABASE_URL="postgresql://u:pw@127.0.0.1:abc/x"), "db", "upgrade")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("pressrun: PRESSRUN_DATABASE_URL: is no URL; allowed: ")
    assert "pw@" not in done.stderr


def test_a_database_of_a_newer_version_is_named_by_whoever_looks(tmp_path: Path) -> None:
    environ = environment(tmp_path)
    assert run(environ, "db", "upgrade").returncode == 0
    with sqlite3.connect(tmp_path / "var" / "pressrun.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    for command in (("status",), ("status", "--json"), ("db", "upgrade")):
        done = run(environ, *command)
        assert (done.returncode, done.stdout) == (1, ""), command
        assert "9999" in done.stderr
        assert "install that version or newer" in done.stderr
    found = run(environ, "audit")
    assert "install the newer Pressrun" in found.stdout
    assert "db upgrade" not in found.stdout
