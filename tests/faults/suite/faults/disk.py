"""A full disk, for each process by itself: RLIMIT_FSIZE, set from outside, needs no rights and no disk to fill.

A write behind the limit fails as on a full disk (EFBIG where that says ENOSPC; Python, SQLite and PostgreSQL take
both for the failed write that they are): journal, write-ahead log, database, log files. What it does not cover: a
write that finds half its room is cut at the limit in the same way, but room that comes and goes does not occur.
"""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

import psutil

from tests.faults.suite.bed import Bed
from tests.faults.suite.faults.table import fault


@contextmanager
def _full(pids: Iterable[int], limit: int, user: str | None = None) -> Iterator[None]:
    """`user`: whose processes they are, where not ours. What they start meanwhile has their limit, until the end.

    It must not keep it: a child that was killed just before, and started again in time, would have no room for ever,
    and be the first to fail at whatever there is to do.
    """
    changed = [pid for pid in pids if _set_limit(pid, str(limit), user)]
    try:
        yield
    finally:
        # theirs first: who is started from now on has it
        for pid in changed:
            _set_limit(pid, "unlimited", user)
        for pid in changed:
            with suppress(psutil.NoSuchProcess):
                for child in psutil.Process(pid).children(recursive=True):
                    _set_limit(child.pid, "unlimited", user)


def _set_limit(pid: int, limit: str, user: str | None) -> bool:
    """The soft one: it may be raised again. False where the process is gone."""
    command = ["prlimit", f"--pid={pid}", f"--fsize={limit}:"]
    return subprocess.run(command, user=user, capture_output=True).returncode == 0


@contextmanager
def _writing_nothing(bed: Bed, processes: Sequence[psutil.Process], limit: int) -> Iterator[None]:
    """Where the ledger is a file too, what was open then may end without anybody's knowing.

    A connection whose line will not go into the journal is closed at once.
    """
    with ExitStack() as stack:
        with bed.house.frozen(processes) as seen:
            stack.enter_context(_full([one.pid for one in processes], limit))
        if bed.postgres is None:
            stack.enter_context(bed.history.writing_nothing("a full disk", seen))
        yield


@fault("disk-full")
def disk_full(bed: Bed, rng: random.Random) -> str:
    """Nothing that Pressrun's own processes write takes any room: journals, and SQLite."""
    seconds = rng.uniform(2.0, 4.0)
    limit = rng.choice((0, 1000, 100_000))
    with _writing_nothing(bed, bed.house.everybody(), limit):
        bed.pause(seconds)
    return f"no file of Pressrun's grows beyond {limit} bytes for {seconds:.1f} s"


@fault("journal-full")
def journal_full(bed: Bed, rng: random.Random) -> str:
    """The sending processes only; the ledger is elsewhere."""
    seconds = rng.uniform(2.0, 4.0)
    with _writing_nothing(bed, bed.house.processes("bulk")[1:], 0):
        bed.pause(seconds)
    return f"the sending processes write to no file for {seconds:.1f} s"


@fault("postgresql-disk-full", databases=("postgresql",))
def postgresql_full(bed: Bed, rng: random.Random) -> str:
    """It may panic, as it does on a full disk; an operator makes room and starts it again."""
    assert bed.postgres is not None
    seconds = rng.uniform(1.0, 3.0)
    with _full(bed.postgres.pids(), 65_536, bed.postgres.user):
        bed.pause(seconds)
    bed.postgres.restart("immediate")
    return f"PostgreSQL without room for {seconds:.1f} s"
