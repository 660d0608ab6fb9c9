"""A disk that is full for some processes, and has room again for all of them."""

from __future__ import annotations

import resource
import subprocess

import psutil

from tests.faults.suite.faults import disk
from tests.running import wait_until


def test_who_is_started_while_there_is_no_room_has_room_afterwards() -> None:
    command = ["sh", "-c", "read line; sleep 60 & wait"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as parent:
        try:
            with disk._full([parent.pid], 1000):
                assert parent.stdin is not None
                parent.stdin.write(b"\n")
                parent.stdin.flush()
                wait_until(lambda: bool(_children(parent.pid)), 10)
                (child,) = _children(parent.pid)
                assert _limits(parent.pid, child.pid) == [1000, 1000]
            assert _limits(parent.pid, child.pid) == [resource.RLIM_INFINITY] * 2
        finally:
            for one in [*_children(parent.pid), psutil.Process(parent.pid)]:
                one.kill()


def _children(pid: int) -> list[psutil.Process]:
    found: list[psutil.Process] = psutil.Process(pid).children()
    return found


def _limits(*pids: int) -> list[int]:
    return [int(resource.prlimit(pid, resource.RLIMIT_FSIZE)[0]) for pid in pids]
