"""Busy ports and folders are named before anything is started."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from worker.cli.ports import Listener, free_port, listens, only_one, reachable, require_free
from worker.domain.errors import ConfigurationError


def test_a_busy_port_is_named_with_its_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        with pytest.raises(ConfigurationError) as caught:
            require_free([Listener("api", "PRESSRUN_API_PORT", "127.0.0.1", port)])
    assert f"port {port} (api)" in str(caught.value)
    assert "set PRESSRUN_API_PORT to another port" in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_one_port_for_two_parts_names_both_settings(host: str) -> None:
    port = free_port("127.0.0.1")
    api = Listener("api", "PRESSRUN_API_PORT", "127.0.0.1", port)
    with pytest.raises(ConfigurationError) as caught:
        require_free([api, Listener("flower", "PRESSRUN_FLOWER_PORT", host, port)])
    words = f"PRESSRUN_API_PORT and PRESSRUN_FLOWER_PORT: found {port} for both; give each a port of its own"
    assert str(caught.value) == words
    assert not listens("127.0.0.1", port)


def test_a_free_port_is_free() -> None:
    port = free_port("127.0.0.1")
    require_free([Listener("api", "PRESSRUN_API_PORT", "127.0.0.1", port)])
    assert not listens("127.0.0.1", port)


def test_a_host_that_is_not_ours_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"cannot be used on 192\.0\.2\.1"):
        require_free([Listener("api", "PRESSRUN_API_PORT", "192.0.2.1", 0)])


def test_who_listens_everywhere_is_reached_on_the_loopback() -> None:
    assert reachable("0.0.0.0") == "127.0.0.1"
    assert reachable("10.0.0.1") == "10.0.0.1"


def test_one_folder_has_one_system(tmp_path: Path) -> None:
    words = rf"in use by another `pressrun up` \(process {os.getpid()}\)"
    with only_one(tmp_path / "var"), pytest.raises(ConfigurationError, match=words), only_one(tmp_path / "var"):
        pass
    with only_one(tmp_path / "var"):
        pass


def test_a_killed_holder_gives_the_folder_back(tmp_path: Path) -> None:
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom worker.cli.ports import only_one\n"
        "with only_one(Path(sys.argv[1])):\n print('held', flush=True)\n time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(ConfigurationError), only_one(tmp_path):
            pass
        holder.kill()
    with only_one(tmp_path):
        pass


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    words = r"^PRESSRUN_VAR_DIR: .* cannot be written"
    with pytest.raises(ConfigurationError, match=words), only_one(tmp_path / "file"):
        pass
