"""Postfix's test programs, `smtp-source` and `smtp-sink`: the ones of this machine, or unpacked from Debian's package.

Unpacked, not installed: no mail server is set up or started.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmarks.report import FIGURES, Unavailable

_PLACES = "/usr/sbin:/usr/libexec/postfix:/usr/local/sbin"


@dataclass(frozen=True)
class Tools:
    source: Path
    sink: Path
    environ: dict[str, str]
    version: str


@cache
def tools() -> Tools:
    """Raises `Unavailable` where they are neither here nor to be had."""
    found = shutil.which("smtp-source", path=f"{os.environ['PATH']}:{_PLACES}")
    if found:
        return Tools(Path(found), Path(found).with_name("smtp-sink"), dict(os.environ), "this machine's")
    folder = FIGURES / "postfix"
    if not (folder / "usr" / "sbin" / "smtp-sink").exists():
        _unpack(folder)
    libraries = {**os.environ, "LD_LIBRARY_PATH": str(folder / "usr" / "lib" / "postfix")}
    package = next(folder.glob("postfix_*.deb")).stem
    return Tools(folder / "usr" / "sbin" / "smtp-source", folder / "usr" / "sbin" / "smtp-sink", libraries, package)


def _unpack(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    try:
        subprocess.run(["apt-get", "-qq", "download", "postfix"], cwd=folder, check=True, capture_output=True)
        package = next(folder.glob("postfix_*.deb"))
        subprocess.run(["dpkg-deb", "-x", package, folder], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError, StopIteration) as error:
        raise Unavailable(
            f"smtp-source and smtp-sink are not on this machine, and no package to unpack ({error})"
        ) from None


def unprivileged() -> list[str]:
    """What `smtp-sink` asks for when it is started by root."""
    return ["-u", pwd.getpwnam("nobody").pw_name] if os.geteuid() == 0 else []


def source_speed(port: int, messages: int, *, size: int = 16_384, sessions: int = 16, keep: bool = True) -> float:
    """Mails a second of `smtp-source`. `keep`: many messages a connection (`-d`), else one."""
    command = [
        str(tools().source), *(["-d"] if keep else []), "-s", str(sessions), "-l", str(size), "-m", str(messages),
        "-f", "news@daily.example", "-t", "reader@north.example", f"127.0.0.1:{port}",
    ]  # fmt: skip
    began = time.monotonic()
    subprocess.run(command, env=tools().environ, check=True, capture_output=True)
    return messages / (time.monotonic() - began)
