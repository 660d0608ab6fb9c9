"""`pressrun up` for real: it comes up, mends itself, stops clean, and leaves nothing behind."""

from __future__ import annotations

import signal
import socket
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.integration.cli.command import PARTS, environment, run, started
from tests.running import TOKEN, signup_event, wait_until
from worker.cli.ports import listens


def test_it_comes_up_mends_itself_and_stops_clean(tmp_path: Path) -> None:
    # a folder that is called like a part: no command line may show it
    folder = tmp_path / "bulk-api-flower"
    folder.mkdir()
    environ = environment(folder)
    # as the README says it: nothing set, files in `var` of the folder it is called in
    del environ["PRESSRUN_VAR_DIR"]
    environ["PRESSRUN_SMPT_URL"] = "smtp://127.0.0.1:25"
    with started(environ, "up") as up:
        up.wait_for("Pressrun is up")
        assert (folder / "var" / "pressrun.db").exists()
        assert f"http://127.0.0.1:{environ['PRESSRUN_API_PORT']}/docs" in up.output
        parts = up.parts()
        assert all(parts[part] for part in PARTS), parts
        # each process belongs to one part
        pids = [process.pid for processes in parts.values() for process in processes]
        assert len(pids) == len(set(pids))
        assert httpx.get(f"http://127.0.0.1:{environ['PRESSRUN_API_PORT']}/readyz").status_code == 200
        assert "PRESSRUN_SMPT_URL: nothing reads this variable" in up.output
        # each line of the start tells somebody something: no banner, no advice that is not for here
        assert len(up.output.splitlines()) < 25, up.output
        noise = ("SecurityWarning", "[tasks]", "overcommit", "failed", "Configuration ->")
        assert not any(words in up.output for words in noise), up.output

        for process in parts["bulk"]:
            process.kill()
        up.wait_for("bulk died (signal 9), started again")
        wait_until(lambda: up.output.count("bulk@") > 1 and up.output.count(" ready.") >= 3, 60, lambda: up.output)
        assert {process.pid for process in up.parts()["api"]} == {process.pid for process in parts["api"]}

        second = run({**environ, "PRESSRUN_API_PORT": "0", "PRESSRUN_FLOWER_PORT": "0"}, "up")
        assert second.returncode == 1
        assert "is in use by another `pressrun up`" in second.stderr
        assert second.stderr.count("\n") == 1

        up.parts()
        up.signal(signal.SIGINT)
        assert up.wait() == 0, up.output
        assert "Traceback" not in up.output
        assert all(len(line) > len("transactional") for line in up.output.splitlines() if line), up.output
        assert up.left_over() == []


def test_nothing_outlives_a_killed_supervisor(tmp_path: Path) -> None:
    with started(environment(tmp_path), "up") as up:
        up.wait_for("Pressrun is up")
        assert all(up.parts().values())
        up.signal(signal.SIGKILL)
        wait_until(lambda: not up.left_over(), 20, up.left_over)


def test_with_a_redis_that_is_not_there_it_says_so_and_takes_events(tmp_path: Path) -> None:
    environ = environment(tmp_path, PRESSRUN_REDIS_URL="redis://127.0.0.1:1/0", PRESSRUN_DAILY_TOKEN=TOKEN)
    with started(environ, "up") as up:
        up.wait_for("Pressrun is up")
        said = up.output.splitlines()[0].removeprefix("pressrun").strip()
        assert said.startswith("PRESSRUN_REDIS_URL: no Redis answers at redis://127.0.0.1:1/0: ")
        assert said.endswith("Still trying: events are accepted meanwhile, mail goes out once it answers")
        wait_until(lambda: up.output.count("Cannot connect") == 2, 30, lambda: up.output)
        answer = httpx.post(
            f"http://127.0.0.1:{environ['PRESSRUN_API_PORT']}/v1/events", json=signup_event("ana@example.com"),
            headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/cloudevents+json"},
        )  # fmt: skip
        assert answer.status_code == 202
        up.signal(signal.SIGTERM)
        assert up.wait() == 0, up.output
    # they go on trying every few seconds and say so once a minute, on one line
    complaints = [line for line in up.output.splitlines() if "Trying again" in line]
    assert len([line for line in complaints if "Cannot connect" in line]) == 2, up.output
    assert all("Error 111" in line for line in complaints), up.output


@pytest.mark.parametrize("part", ["api", "scheduler", "flower", "inbox"])
def test_a_part_that_is_told_to_stop_ends_well(tmp_path: Path, part: str) -> None:
    environ = environment(tmp_path, PRESSRUN_REDIS_URL="redis://127.0.0.1:1/0")
    assert run(environ, "db", "upgrade").returncode == 0
    ports = {"api": ("API",), "flower": ("FLOWER",), "inbox": ("INBOX", "INBOX_SMTP")}.get(part, ())
    with started(environ, "part", part) as command:
        if part == "scheduler":
            command.wait_for("beat: Starting")
        for port in ports:
            wait_until(partial(listens, "127.0.0.1", int(environ[f"PRESSRUN_{port}_PORT"])), 60)
        command.signal(signal.SIGTERM)
        assert command.wait() == 0, command.output
        assert "Traceback" not in command.output


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"PRESSRUN_API_PORT": "28571", "PRESSRUN_FLOWER_PORT": "28571"}, "PRESSRUN_API_PORT and PRESSRUN_FLOWER_PORT"),
        ({"PRESSRUN_FLOWER_HOST": "0.0.0.0"}, "PRESSRUN_FLOWER_PASSWORD: found nothing"),
    ],
)
def test_what_could_not_go_well_is_refused_before_anything_starts(
    tmp_path: Path, environ: dict[str, str], named: str
) -> None:
    done = run(environment(tmp_path, **environ), "up")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"pressrun: {named}")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "var" / "pressrun.db").exists()


def test_a_busy_port_is_named_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = str(busy.getsockname()[1])
        done = run(environment(tmp_path, PRESSRUN_FLOWER_PORT=port), "up")
    assert done.returncode == 1
    assert done.stderr.startswith(f"pressrun: port {port} (flower) cannot be used on 127.0.0.1")
    assert "PRESSRUN_FLOWER_PORT" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "var" / "pressrun.db").exists()


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = run(environment(tmp_path, PRESSRUN_VAR_DIR=str(tmp_path / "file" / "var")), "up")
    assert done.returncode == 1
    assert done.stderr.startswith("pressrun: PRESSRUN_VAR_DIR: ")
    assert done.stderr.count("\n") == 1


def test_a_wrong_setting_is_one_clear_line(tmp_path: Path) -> None:
    done = run(environment(tmp_path, PRESSRUN_API_PORT="eighty"), "up")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "pressrun: PRESSRUN_API_PORT: found 'eighty'; allowed: a valid integer\n"
