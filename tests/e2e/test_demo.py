"""`pressrun demo --exit`, twice on the same folder: every mail sent, every mail seen once."""

from __future__ import annotations

from pathlib import Path

from tests.integration.cli.command import environment, run
from worker.inbox.queries import MailBox

READERS = 40


def test_it_shows_the_whole_way_twice(tmp_path: Path) -> None:
    environ = environment(tmp_path)
    for round_ in (1, 2):
        done = run(environ, "demo", "--exit", "--subscribers", str(READERS))
        assert done.returncode == 0, done.stdout + done.stderr
        assert "The confirmation is in the inbox" in done.stdout
        assert f"campaign {round_}" in done.stdout
        assert "the inbox has each of them exactly once" in done.stdout
        # nothing is up any more that could be looked at
        assert "http://" not in done.stdout
        assert str(tmp_path / "var") in done.stdout
    box = MailBox(tmp_path / "var" / "inbox")
    seen = box.times_seen()
    box.close()
    # a confirmation and a post for who signed up; who signed up first gets the second post, too
    assert set(seen.values()) == {1}
    assert len(seen) == (1 + 1 + READERS) + (1 + 2 + READERS)


def test_it_stays_out_of_production(tmp_path: Path) -> None:
    own = {"PRESSRUN_PUBLIC_URL": "https://mail.example", "PRESSRUN_SECRET_KEY": "k" * 32}
    environ = environment(tmp_path, PRESSRUN_ENVIRONMENT="production", **own)
    done = run(environ, "demo", "--exit")
    assert done.returncode == 1
    assert done.stderr.startswith("pressrun: PRESSRUN_ENVIRONMENT: found 'production'")
