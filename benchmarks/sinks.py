"""Where mails of a benchmark end: postfix's `smtp-sink`, or our own in Python, each in a process of its own.

`smtp-sink` is the faster and the reference's own; it counts and keeps nothing. Ours (`smtp_sink.py`) knows each
recipient and each time, and can be told to refuse.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from benchmarks import postfix
from benchmarks.report import Unavailable
from tests.running import wait_until
from tests.servers import REPOSITORY, free_port
from worker.cli.ports import listens

Samples = list[tuple[float, int]]
"""(`time.time()`, messages so far)."""


class Sink(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def pid(self) -> int: ...


class PythonSink:
    """`smtp_sink.py`; `report` stops it and gives its tally."""

    name = "smtp_sink.py"

    def __init__(self, *options: str) -> None:
        command = [sys.executable, "-m", "benchmarks.smtp_sink", *options]
        self._process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._out = self._process.stdout
        self.pid = self._process.pid
        self.port = int(self._out.readline().rpartition(":")[2])

    def report(self) -> dict[str, Any]:
        """May be asked once."""
        self._process.terminate()
        tally: dict[str, Any] = json.loads(self._out.readline())
        self.close()
        return tally

    def close(self) -> None:
        self._process.kill()
        self._out.close()
        self._process.wait()


class PostfixSink:
    """`smtp-sink -c`, whose running count goes to a file that is looked at a few times a second."""

    name = "smtp-sink"

    def __init__(self) -> None:
        self.port = free_port()
        self.samples: Samples = []
        self._before = 0
        file, path = tempfile.mkstemp(prefix="pr-sink-")
        # a file position of our own: to move the sink's would move where it writes
        self._counts = os.open(path, os.O_RDONLY)
        os.unlink(path)
        command = [str(postfix.tools().sink), *postfix.unprivileged(), "-c", f"127.0.0.1:{self.port}", "1000"]
        self._process = subprocess.Popen(
            command, env=postfix.tools().environ, stdout=file, stderr=subprocess.DEVNULL
        )
        os.close(file)
        self.pid = self._process.pid
        self._stopped = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        try:
            wait_until(lambda: listens("127.0.0.1", self.port), 10, lambda: "smtp-sink does not listen")
        except AssertionError as error:
            self.close()
            raise Unavailable(f"smtp-sink does not start: {error}") from None
        self._watcher.start()

    def messages(self) -> int:
        """Since the start, or the last `reset`."""
        return self._all() - self._before

    def reset(self) -> None:
        """Count from here; nobody may be sending."""
        self._before = self._all()
        self.samples.clear()

    def _all(self) -> int:
        size = os.fstat(self._counts).st_size
        return last_count(os.pread(self._counts, 120, max(0, size - 120)))

    def close(self) -> None:
        self._stopped.set()
        if self._watcher.is_alive():
            self._watcher.join()
        self._process.terminate()
        self._process.wait()
        os.close(self._counts)

    def _watch(self) -> None:
        while not self._stopped.wait(0.02 if not self.samples else 0.2):
            n = self.messages()
            if n > (self.samples[-1][1] if self.samples else 0):
                self.samples.append((time.time(), n))


def last_count(tail: bytes) -> int:
    """`mesg=` of the last whole entry in the tail of what `smtp-sink -c` writes: `sess=1 quit=0 mesg=2`, CR."""
    whole = tail.rpartition(b"\r")[0]
    return int(whole.rpartition(b"mesg=")[2] or 0)


def steadiness(samples: Samples) -> float:
    """The speed of the last tenth, divided by that of the first; between them the system compiles nothing."""
    first, last = samples[0], samples[-1]
    tenth = (last[1] - first[1]) / 10
    early = next(one for one in samples if one[1] >= first[1] + tenth)
    late = next(one for one in reversed(samples) if one[1] <= last[1] - tenth)
    return _speed(late, last) / _speed(first, early)


def _speed(begin: tuple[float, int], end: tuple[float, int]) -> float:
    return (end[1] - begin[1]) / (end[0] - begin[0])


@contextmanager
def opened(kind: type[PythonSink] | type[PostfixSink], *options: str) -> Iterator[Any]:
    sink = kind(*options)
    try:
        yield sink
    finally:
        sink.close()
