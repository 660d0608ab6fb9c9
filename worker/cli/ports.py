"""Ports and folders that a start needs to itself: looked at before anything is started."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from worker.domain.errors import ConfigurationError
from worker.options import Settings


@dataclass(frozen=True, slots=True)
class Listener:
    """Where a part will listen, and the setting that says so."""

    part: str
    setting: str
    host: str
    port: int


def require_free(listeners: Sequence[Listener]) -> None:
    """Raise `ConfigurationError` naming port and setting where one cannot be listened on, or two share a port."""
    # all are held until the last is tried: a port that two settings name is free for each by itself
    with ExitStack() as held:
        for number, one in enumerate(listeners):
            try:
                held.enter_context(_bind(one.host, one.port))
            except OSError as error:
                held.close()
                raise ConfigurationError(_why_not(one, listeners[:number], error)) from None


def _why_not(one: Listener, ours: Sequence[Listener], error: OSError) -> str:
    rival = next((other for other in ours if other.port == one.port), None)
    if rival is not None and _is_free(one):
        return f"{rival.setting} and {one.setting}: found {one.port} for both; give each a port of its own"
    return (
        f"port {one.port} ({one.part}) cannot be used on {one.host}: {error.strerror}; "
        f"stop what listens there or set {one.setting} to another port"
    )


def _is_free(one: Listener) -> bool:
    try:
        _bind(one.host, one.port).close()
    except OSError:
        return False
    return True


def require_password(settings: Settings) -> None:
    """Raise `ConfigurationError` where Flower would show the queues to everybody who reaches this host."""
    if not settings.flower_password and not _is_loopback(settings.flower_host):
        raise ConfigurationError(
            f"PRESSRUN_FLOWER_PASSWORD: found nothing; Flower on PRESSRUN_FLOWER_HOST={settings.flower_host} would "
            "show the queues to everybody: give a password, or let it listen on 127.0.0.1"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def free_port(host: str) -> int:
    """A port that nobody listens on at this moment."""
    with _bind(host, 0) as probe:
        port: int = probe.getsockname()[1]
        return port


def listens(host: str, port: int) -> bool:
    """Whether somebody accepts connections there."""
    try:
        socket.create_connection((reachable(host), port), timeout=1).close()
    except OSError:
        return False
    return True


def reachable(host: str) -> str:
    """The address to reach a listener at; one that listens everywhere is reached on the loopback."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104


def _bind(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM)[0]
    probe = socket.socket(family, kind, protocol)
    try:
        # what asyncio's servers set, too: a port whose last connections only linger is free
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
        probe.listen()
    except OSError:
        probe.close()
        raise
    return probe


@contextmanager
def only_one(var_dir: Path) -> Iterator[None]:
    """Hold the folder for this `pressrun up`; a killed holder gives it back. Raises `ConfigurationError`."""
    path = var_dir / "up.lock"
    try:
        var_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigurationError(
            f"PRESSRUN_VAR_DIR: {var_dir} cannot be written ({error.strerror}); give a folder that can"
        ) from None
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(fd, 20, 0).decode("ascii", "replace").strip() or "unknown"
            raise ConfigurationError(
                f"{var_dir} is in use by another `pressrun up` (process {holder}); stop it, or set PRESSRUN_VAR_DIR"
            ) from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(fd)
