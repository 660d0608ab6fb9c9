"""What a figure was taken on: the machine, the versions, the day."""

from __future__ import annotations

import os
import platform
import re
import sqlite3
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

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
        "sqlite": sqlite3.sqlite_version, **{name: version(name) for name in _PACKAGES},
        "date": datetime.now(UTC).strftime("%Y-%m-%d"), "commit": _commit(),
    }  # fmt: skip


def in_a_line(machine: dict[str, object]) -> str:
    """For people."""
    return (
        f"{machine['cores']} cores ({machine['processor']}), {machine['memory_gb']} GB, Linux {machine['kernel']}, "
        f"load before {machine['load']}; Python {machine['python']}, SQLite {machine['sqlite']}, "
        f"Celery {machine['celery']}, SQLAlchemy {machine['sqlalchemy']}, psycopg {machine['psycopg']}, "
        f"uvloop {machine['uvloop']}; {machine['date']}, commit {machine['commit']}"
    )


def _text(path: str) -> str:
    return Path(path).read_text("utf-8") if Path(path).exists() else ""


def _commit() -> str:
    """Short hash, with a `+` where files differ from it; empty outside a checkout."""
    command = ["git", "describe", "--always", "--dirty=+"]
    found = subprocess.run(command, check=False, cwd=Path(__file__).parent, capture_output=True, text=True)
    return found.stdout.strip()
