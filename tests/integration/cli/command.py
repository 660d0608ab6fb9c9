"""`pressrun …` as a process, its output read while it runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import psutil

from tests.running import wait_until
from tests.servers import REPOSITORY, free_port

PARTS = ("redis", "api", "transactional", "bulk", "scheduler", "flower")


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Everything in `folder`, on ports of its own."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(REPOSITORY),
        "PRESSRUN_CONFIG": str(REPOSITORY / "config" / "pressrun.toml"),
        "PRESSRUN_VAR_DIR": str(folder / "var"),
        "PRESSRUN_API_PORT": str(free_port()),
        "PRESSRUN_FLOWER_PORT": str(free_port()),
        "PRESSRUN_INBOX_PORT": str(free_port()),
        "PRESSRUN_INBOX_SMTP_PORT": str(free_port()),
        "PRESSRUN_BULK_PROCESSES": "1",
        **more,
    }


def run(environ: Mapping[str, str], *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """To its end."""
    return subprocess.run(
        [sys.executable, "-m", "worker.cli", *arguments], env=dict(environ), cwd=environ["HOME"], input=text,
        capture_output=True, text=True, timeout=150,
    )  # fmt: skip


class Started:
    """A command that stays; `output` is what it has said so far, stderr included."""

    def __init__(self, environ: Mapping[str, str], *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "worker.cli", *arguments], env=dict(environ), cwd=environ["HOME"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip
        self.output = ""
        self._family: dict[int, psutil.Process] = {}
        self._reader = Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.output += line

    def wait_for(self, words: str, seconds: float = 90) -> None:
        wait_until(lambda: words in self.output or self._process.poll() is not None, seconds, lambda: self.output)
        assert words in self.output, self.output

    def parts(self) -> dict[str, list[psutil.Process]]:
        """The processes of each part, by its name in their command lines, as `pkill -f` would find them."""
        found: dict[str, list[psutil.Process]] = {part: [] for part in PARTS}
        for process in psutil.Process(self._process.pid).children(recursive=True):
            self._family[process.pid] = process
            for part in PARTS:
                if part in " ".join(process.cmdline()):
                    found[part].append(process)
        return found

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self, seconds: float = 60) -> int:
        status = self._process.wait(seconds)
        self._reader.join(10)
        return status

    def left_over(self) -> list[psutil.Process]:
        """Of the processes that `parts` has seen, those that still run."""
        return [one for one in self._family.values() if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]

    def close(self) -> None:
        for process in self._family.values():
            if process.is_running():
                process.kill()
        if self._process.poll() is None:
            self._process.kill()
        self.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


@contextmanager
def started(environ: Mapping[str, str], *arguments: str) -> Iterator[Started]:
    """Ended, with all that belongs to it, on leaving."""
    command = Started(environ, *arguments)
    try:
        yield command
    finally:
        command.close()
