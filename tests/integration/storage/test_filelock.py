"""The writers' lock: one at a time, threads and processes alike, and it knows who waits."""

from __future__ import annotations

import fcntl
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from tests.running import wait_until
from worker.storage import filelock
from worker.storage.database import Database, DatabaseUnavailable
from worker.storage.filelock import FileLock

_HOLD = """
import sys, time
from pathlib import Path
from worker.storage.filelock import FileLock
with FileLock(Path(sys.argv[1])).held(gives_way=len(sys.argv) > 2):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "db.lock"


def waiting(lock: FileLock, done: list[int], number: int, *, gives_way: bool = False) -> threading.Thread:
    def turn() -> None:
        with lock.held(gives_way=gives_way):
            done.append(number)

    thread = threading.Thread(target=turn)
    thread.start()
    return thread


def test_nobody_waits_for_a_lock_that_is_free_or_held_alone(path: Path) -> None:
    lock = FileLock(path)
    assert not lock.has_waiters()
    with lock.held():
        assert not lock.has_waiters()
    assert not lock.has_waiters()


def test_it_is_known_for_as_long_as_somebody_waits(path: Path) -> None:
    lock, done = FileLock(path), list[int]()
    with lock.held():
        threads = [waiting(lock, done, number) for number in range(3)]
        wait_until(lock.has_waiters, 10)
        assert done == []
    for thread in threads:
        thread.join(10)
    assert sorted(done) == [0, 1, 2]
    assert not lock.has_waiters()


def test_who_gives_way_lets_those_go_first_that_came_later(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # where the machine is busy, who is woken may take longer than they wait
    monkeypatch.setattr(filelock, "_GIVES_WAY_SECONDS", 10.0)
    lock = FileLock(path)
    for _ in range(20):
        done = list[int]()
        with lock.held(gives_way=True):
            threads = [waiting(lock, done, number, gives_way=True) for number in (2, 3)]
            wait_until(lock.has_waiters, 10)
            threads.append(waiting(lock, done, 1))
            wait_until(lambda: _held(path, "urgent"), 10)
            assert done == []
        for thread in threads:
            thread.join(10)
        assert done[0] == 1
        assert sorted(done) == [1, 2, 3]
        assert not lock.has_waiters()


def test_who_gives_way_goes_all_the_same_when_others_never_stop_coming(path: Path) -> None:
    lock = FileLock(path)
    with path.with_name(f"{path.name}.urgent").open("w") as urgent:
        fcntl.flock(urgent, fcntl.LOCK_SH)
        with lock.held(gives_way=True):
            pass


def test_a_line_whose_first_is_stopped_holds_up_nobody_for_long(path: Path) -> None:
    """Stopped while it waited: it has the line, and not the lock. Without an end of patience this would hang."""
    lock = FileLock(path)
    with _process(path, True) as first:
        try:
            with lock.held():
                wait_until(lambda: _held(path, "line"), 10)
                first.send_signal(signal.SIGSTOP)
                wait_until(lambda: psutil.Process(first.pid).status() == psutil.STATUS_STOPPED, 10)
            for _ in range(20):
                with lock.held(gives_way=True):
                    pass
            assert _held(path, "line")
        finally:
            first.kill()


def _held(path: Path, kind: str) -> bool:
    with path.with_name(f"{path.name}.{kind}").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


@pytest.mark.parametrize("gives_way", [True, False])
def test_a_killed_holder_and_a_killed_waiter_give_it_back(path: Path, gives_way: bool) -> None:
    lock = FileLock(path)
    with _process(path, gives_way) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with _process(path, gives_way) as waiter:
            wait_until(lock.has_waiters, 10)
            waiter.kill()
        assert not lock.has_waiters()
        holder.kill()
    with lock.held(gives_way=gives_way):
        pass


def _process(path: Path, gives_way: bool) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _HOLD, str(path), *(["gives way"] if gives_way else [])]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_database_says_whether_a_writer_waits(database: Database) -> None:
    done = threading.Event()

    def write() -> None:
        with database.write():
            done.set()

    other = threading.Thread(target=write)
    with database.write():
        assert not database.has_waiters()
        other.start()
        wait_until(database.has_waiters, 10)
    assert done.wait(10)
    other.join(10)
    assert not database.has_waiters()


@pytest.mark.parametrize("backend", ["postgresql"])
def test_on_postgresql_writers_do_not_queue(database: Database) -> None:
    with database.write(), database.write():
        assert not database.has_waiters()


def test_a_folder_that_is_gone_is_an_unavailable_database(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'gone' / 'pressrun.db'}")
    with pytest.raises(DatabaseUnavailable, match="No such file or directory"), database.write():
        pass
