"""CPU and memory of processes, in `/proc`'s own words and of a process that really works."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from benchmarks.accounting import Account, family, peak_kb, private_kb, ticks


def test_a_name_with_blanks_and_brackets_moves_no_field() -> None:
    stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 100 200 0 0 11 7 3 2 20 0 1 0 100 1000 10"
    assert ticks(stat) == 11 + 7 + 3 + 2


def test_the_peak_is_read_from_status() -> None:
    assert peak_kb("Name:\tx\nVmPeak:\t  9999 kB\nVmHWM:\t   2048 kB\nVmRSS:\t 1024 kB\n") == 2048
    assert peak_kb("Name:\tkthreadd\n") == 0


def test_work_is_counted_once_whether_its_process_lives_or_has_ended() -> None:
    """0.3 s in a child that is waited for, under a parent that does nothing."""
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    parent = (
        "import subprocess, sys; print('up', flush=True); sys.stdin.readline();"
        f"subprocess.run([sys.executable, '-c', {burn!r}]); print('done', flush=True); sys.stdin.readline()"
    )
    process = subprocess.Popen([sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        account = Account({"work": lambda: family(process.pid), "idle": list})
        print(file=process.stdin, flush=True)
        process.stdout.readline()
        used = account.cpu_us(1)
        peaks = account.peaks_mb()
        process.stdin.close()
    assert used["work"] == pytest.approx(300_000, abs=100_000)
    assert used["idle"] == 0
    assert peaks["work"][0] > 3
    assert peaks["idle"] == []


def test_a_process_that_is_gone_has_no_family() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    assert family(process.pid) == []
    assert os.getpid() in family(os.getpid())


def test_private_memory_is_what_a_process_has_of_its_own() -> None:
    assert private_kb("VmHWM:\t   900 kB\nRssAnon:\t   120 kB\nRssFile:\t 700 kB\n") == 120
    assert private_kb("Name:\tkthreadd\n") == 0
    account = Account({"me": lambda: [os.getpid()]})
    whole, private = account.peaks_mb()["me"], account.private_mb()["me"]
    assert 0 < private[0] < whole[0]
