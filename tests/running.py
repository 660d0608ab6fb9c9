"""A whole Pressrun as processes, for tests that kill, stop and starve them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.ledger import statuses
from tests.servers import REPOSITORY, free_port
from worker.settings import Settings, load_settings
from worker.storage.database import Database

TOKEN = "a-token-for-tests-only"
SAMPLES = REPOSITORY / "config" / "samples"


def wait_until(condition: Callable[[], bool], seconds: float, what: Callable[[], object] = str) -> None:
    """Until it holds; fails after `seconds` with what `what()` says then."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what()}")
        time.sleep(0.05)


class Running:
    """Parts run as `pressrun part NAME`, each in a session of its own, their output in `log_dir`."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self.folder = folder
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(REPOSITORY),
            "PRESSRUN_CONFIG": str(REPOSITORY / "config" / "pressrun.toml"),
            "PRESSRUN_VAR_DIR": str(folder / "var"),
            "PRESSRUN_API_PORT": str(free_port()),
            "PRESSRUN_SECRET_KEY": "a key for tests, and for nothing else",
            "PRESSRUN_DAILY_TOKEN": TOKEN,
            "PRESSRUN_SWEEP_SECONDS": "1",
            **environ,
        }
        (folder / "var").mkdir(exist_ok=True)
        self.settings: Settings = load_settings(self.environ)
        self.database = Database(self.settings.database)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    # -- processes

    def run(self, *arguments: str, check: bool = True, text: str = "") -> str:
        """`pressrun <arguments>` to its end; what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "worker.cli", *arguments], env=self.environ, cwd=self.folder, input=text,
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        if check:
            assert done.returncode == 0, f"{arguments}: {done.stdout}\n{done.stderr}"
        return done.stdout

    def start(self, *parts: str) -> None:
        for part in parts:
            log = (self.folder / f"{part}.log").open("ab")
            self._processes[part] = subprocess.Popen(
                self.command(part), env=self.environ_of(part), cwd=self.folder, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
            log.close()

    def command(self, part: str) -> list[str]:
        """What runs a part; a benchmark runs one with a profiler around it."""
        return [sys.executable, "-m", "worker.cli", "part", part]

    def environ_of(self, part: str) -> dict[str, str]:
        """What a part is started with."""
        return self.environ

    def family(self, part: str) -> list[psutil.Process]:
        """The part's main process and its children."""
        main = psutil.Process(self._processes[part].pid)
        return [main, *main.children(recursive=True)]

    def kill(self, part: str) -> None:
        """SIGKILL to all processes of a part at once."""
        os.killpg(self._processes[part].pid, signal.SIGKILL)
        self._processes.pop(part).wait(10)

    def stop(self, part: str, seconds: float = 40) -> None:
        process = self._processes.pop(part)
        process.terminate()
        process.wait(seconds)

    def log(self, part: str) -> str:
        path = self.folder / f"{part}.log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def close(self) -> None:
        for part in list(self._processes):
            self.kill(part)
        self.database.close()

    # -- what a user does

    def api(self) -> httpx.Client:
        """A client that speaks for `daily`; waits for the API to be up."""
        url = self.settings.base_url
        wait_until(lambda: _answers(url), 40, lambda: self.log("api"))
        return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=20)

    def import_readers(self, n: int, prefix: str = "reader", domain: str = "example.com") -> None:
        path = self.folder / f"{prefix}.csv"
        path.write_text("email,name\n" + "".join(f"{prefix}{i}@{domain},Reader {i}\n" for i in range(n)))
        self.run("import", str(path), "--publication", "daily", "--list", "posts")

    def emit(self, *events: Mapping[str, Any]) -> str:
        return self.run("emit", "-", text="\n".join(json.dumps(event) for event in events))

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("status", "--json"))
        return found

    def counts(self) -> Counter[str]:
        return statuses(self.database)

    def wait_sent(self, n: int, seconds: float = 60) -> None:
        wait_until(lambda: self.counts()["sent"] >= n, seconds, self.describe)

    def describe(self) -> str:
        tails = [f"--- {part}\n{self.log(part)[-3000:]}" for part in ("bulk", "transactional", "scheduler", "api")]
        return f"{dict(self.counts())}\n" + "\n".join(tails)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz").status_code == 200
    except httpx.TransportError:
        return False


@contextmanager
def running(folder: Path, environ: Mapping[str, str], parts: Sequence[str]) -> Iterator[Running]:
    """A migrated system with these parts up."""
    system = Running(folder, environ)
    try:
        system.run("db", "upgrade")
        system.start(*parts)
        yield system
    finally:
        system.close()


def post_event(post_id: str = "post-1", event_id: str | None = None, **post: Any) -> dict[str, Any]:
    """The sample post under another id."""
    event: dict[str, Any] = json.loads((SAMPLES / "post-published.json").read_text("utf-8"))
    event["id"] = event_id or f"{post_id}-published"
    event["data"]["post"] |= {"id": post_id, **post}
    return event


def signup_event(address: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((SAMPLES / "subscriber-created.json").read_text("utf-8"))
    event["id"] = f"signup-{sha256(address.encode()).hexdigest()[:12]}"
    event["data"]["subscriber"]["email"] = address
    return event


