"""The supervisor over real processes, each a few lines of Python: started, told ready, started again, stopped."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.running import wait_until
from worker.cli.supervisor import Part, StartFailed, Supervisor, describe, own_command

_STEADY = "import time\nprint('up', flush=True)\nwhile True: time.sleep(0.05)"
_STUBBORN = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + _STEADY
_BROKEN = "print('no such file', flush=True)\nraise SystemExit(3)"


class Heard:
    """What was said, and a supervisor whose parts are these scripts."""

    def __init__(self, **scripts: str) -> None:
        self.lines: list[tuple[str, str]] = []
        self._scripts = scripts
        self.supervisor = Supervisor(os.environ, lambda part, line: self.lines.append((part, line)), self._command)

    def _command(self, arguments: Sequence[str]) -> list[str]:
        return [Path(sys.executable).name, "-c", self._scripts[arguments[-1]], *arguments]

    def said(self, part: str, words: str) -> bool:
        return any(name == part and words in line for name, line in self.lines)


async def _until(condition: Callable[[], bool]) -> None:
    await asyncio.to_thread(wait_until, condition, 10)


def test_it_waits_until_all_are_ready_and_stops_them() -> None:
    async def story() -> None:
        heard = Heard(api=_STEADY, bulk=_STEADY)
        spoken = Part("bulk", probe=lambda: heard.said("bulk", "up"))
        await heard.supervisor.start([Part("api", ready_word="up"), spoken])
        pids = [heard.supervisor.pid(name) for name in ("api", "bulk")]
        await heard.supervisor.stop([["bulk"], ["api"]])
        assert all(pid is not None and not _runs(pid) for pid in pids)

    asyncio.run(story())


def test_a_part_that_dies_is_started_again_and_it_says_so() -> None:
    async def story() -> None:
        heard = Heard(bulk=_STEADY)
        await heard.supervisor.start([Part("bulk", ready_word="up")])
        first = heard.supervisor.pid("bulk")
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await _until(lambda: heard.supervisor.pid("bulk") not in (None, first))
        assert heard.said("bulk", "bulk died (signal 9), started again")
        await heard.supervisor.stop([["bulk"]])

    asyncio.run(story())


def test_a_dead_part_is_noticed_while_its_child_holds_the_pipe() -> None:
    """A pool's processes outlive their main one for a moment, with its stdout open."""
    child = "import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(5)'])\n"

    async def story() -> None:
        heard = Heard(bulk=child + _STEADY)
        await heard.supervisor.start([Part("bulk", ready_word="up")])
        first = heard.supervisor.pid("bulk")
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await asyncio.wait_for(_until(lambda: heard.said("bulk", "started again")), 4)
        os.killpg(first, signal.SIGKILL)
        await heard.supervisor.stop([["bulk"]])

    asyncio.run(story())


def test_one_that_never_comes_up_is_given_up_with_its_last_words() -> None:
    async def story() -> None:
        heard = Heard(flower=_BROKEN)
        with pytest.raises(StartFailed, match=r"flower ended \(exit code 3\) 3 times"):
            await heard.supervisor.start([Part("flower", ready_word="up")])
        await heard.supervisor.stop([["flower"]])
        assert heard.said("flower", "no such file")

    asyncio.run(story())


def test_one_that_does_not_stop_is_killed_with_its_children() -> None:
    async def story() -> None:
        heard = Heard(bulk=_STUBBORN)
        await heard.supervisor.start([Part("bulk", ready_word="up", stop_seconds=0.2)])
        pid = heard.supervisor.pid("bulk")
        assert pid is not None
        await heard.supervisor.stop([["bulk"]])
        assert not _runs(pid)
        assert heard.said("bulk", "did not stop within 0.2 s, killed")

    asyncio.run(story())


def test_groups_stop_one_after_the_other() -> None:
    slow = (
        "import signal, sys, time\n"
        "def leave(*_):\n time.sleep(0.3)\n print('gone', flush=True)\n sys.exit()\n"
        "signal.signal(signal.SIGTERM, leave)\n" + _STEADY
    )
    quick = slow.replace("0.3", "0.0")

    async def story() -> list[str]:
        heard = Heard(bulk=slow, redis=quick)
        await heard.supervisor.start([Part("bulk", ready_word="up"), Part("redis", ready_word="up")])
        await heard.supervisor.stop([["bulk"], ["redis"]])
        return [part for part, line in heard.lines if line == "gone"]

    assert asyncio.run(story()) == ["bulk", "redis"]


def test_a_command_line_holds_no_path_and_no_other_parts_name() -> None:
    """`pkill -f bulk` must hit the bulk worker alone, wherever Pressrun is installed."""
    names = ("api", "transactional", "bulk", "scheduler", "flower", "redis", "inbox")
    for name in names:
        line = " ".join(own_command(("part", name)))
        assert "/" not in line
        assert [other for other in names if other in line] == [name]


def test_how_a_process_ended_is_put_into_words() -> None:
    assert describe(-9) == "died (signal 9)"
    assert describe(1) == "ended (exit code 1)"


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
