"""Pressrun's processes under faults: each can be killed, stopped and started; what dies by itself is started again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from tests.faults.suite.clocks import ShiftedClock
from tests.faults.suite.history import History, Killed, Open, Stopped
from tests.running import Running
from tests.servers import REPOSITORY
from worker.delivery.journal import read_journal

PARTS = ("api", "transactional", "bulk", "scheduler")
SECOND_SCHEDULER = "scheduler-2"
# A supervisor's: what died is there again after this.
_AGAIN_SECONDS = 0.3
_STOP_SECONDS = 40
# On a loaded machine a moment's standstill may be long enough for a lease to run out in it.
_LONG_FREEZE_SECONDS = 1.0


class House(Running):
    """`inbox_port` tells which of a process' connections are conversations."""

    def __init__(
        self, folder: Path, environ: Mapping[str, str], history: History, inbox_port: int, clock: ShiftedClock | None
    ) -> None:
        super().__init__(folder, environ)
        self.history = history
        self.tree = REPOSITORY
        self._inbox_port = inbox_port
        self._clock = clock
        self._lock = threading.RLock()
        self._held: set[str] = set()
        """Parts that are down because a fault wants it so."""
        self._closing = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)

    def environ_of(self, part: str) -> dict[str, str]:
        environ = {**self.environ, "PYTHONPATH": str(self.tree)}
        if part == SECOND_SCHEDULER:
            environ["PRESSRUN_VAR_DIR"] = str(self.folder / "var-2")
        return environ | (self._clock.environ if self._clock else {})

    def command(self, part: str) -> list[str]:
        return super().command(part.removesuffix("-2"))

    def open(self) -> None:
        """Start all parts and keep them."""
        self.start(*PARTS)
        self._keeper.start()

    def close(self) -> None:
        self._closing.set()
        if self._keeper.ident is not None:
            self._keeper.join(10)
        for one in self.everybody():
            with suppress(psutil.NoSuchProcess):
                one.kill()
        super().close()

    # -- looking

    def processes(self, part: str) -> list[psutil.Process]:
        """The part's main process and its children; none where it is down."""
        with self._lock:
            process = self._processes.get(part)
        if process is None or process.poll() is not None:
            return []
        with suppress(psutil.NoSuchProcess):
            return self.family(part)
        return []

    def everybody(self) -> list[psutil.Process]:
        return [one for part in list(self._processes) for one in self.processes(part)]

    def senders(self, part: str = "bulk") -> list[psutil.Process]:
        """Children of the part that hold conversations, by age."""
        return sorted((one for one in self.processes(part)[1:] if self.ports([one])), key=lambda one: one.pid)

    def ports(self, processes: Iterable[psutil.Process]) -> frozenset[int]:
        """Our ends of their connections to the receiving server."""
        found: set[int] = set()
        for one in processes:
            with suppress(psutil.Error):
                calls = [call for call in one.net_connections("tcp") if call.raddr]
                found |= {call.laddr.port for call in calls if call.raddr.port == self._inbox_port}
        return frozenset(found)

    # -- faults

    @contextmanager
    def down(self, part: str) -> Iterator[None]:
        """Nobody starts the part while this lasts; afterwards it is started."""
        with self._lock:
            self._held.add(part)
        try:
            yield
        finally:
            with self._lock:
                self._held.discard(part)
                if not self.processes(part) and not self._closing.is_set():
                    self.start(part)

    def dismiss(self, part: str) -> None:
        """End it for good."""
        with self._lock:
            self._held.add(part)
            self.kill_all(part)
            self._processes.pop(part, None)
            self._held.discard(part)

    def sigkill(self, what: str, victims: Sequence[psutil.Process], others: Sequence[psutil.Process] = ()) -> Killed:
        """SIGKILL the victims; `others` are those that die with them. Stopped first, to see what is open just then."""
        everybody = [*victims, *others]
        _stop(everybody)
        killed = Killed(time.time(), what, self.ports(everybody))
        self.history.killed.append(killed)
        _send(victims, signal.SIGKILL)
        _send(others, signal.SIGCONT)
        return killed

    def sigterm(self, what: str, victim: psutil.Process) -> None:
        """To a process that has no orderly end of its own, and may die of it at once."""
        _stop([victim])
        self.history.killed.append(Killed(time.time(), what, self.ports([victim])))
        _send([victim], signal.SIGTERM)
        _send([victim], signal.SIGCONT)

    def kill_main(self, part: str) -> None:
        """SIGKILL to its main process, as the kernel's out-of-memory killer does; its children end by themselves."""
        family = self.processes(part)
        if family:
            killed = self.sigkill(part, family[:1], family[1:])
            psutil.wait_procs(family, 15)
            killed.gone_at = time.time()

    def kill_all(self, part: str) -> None:
        family = self.processes(part)
        self.sigkill(part, family)
        psutil.wait_procs(family, 15)

    def kill_house(self) -> None:
        """All processes of all parts in the same moment."""
        everybody = self.everybody()
        self.sigkill("the house", everybody)
        psutil.wait_procs(everybody, 15)

    def terminate(self, part: str) -> bool:
        """SIGTERM to its main process; whether it ended by itself."""
        family = self.processes(part)
        _send(family[:1], signal.SIGTERM)
        _, alive = psutil.wait_procs(family, _STOP_SECONDS)
        if alive:
            self.sigkill(f"{part}, which did not end on SIGTERM", alive)
        return not alive

    @contextmanager
    def _still(self, processes: Sequence[psutil.Process]) -> Iterator[Open]:
        """Stopped; what is open in them."""
        _stop(processes)
        try:
            yield Open(self.ports(processes), self._bodies(processes))
        finally:
            _send(processes, signal.SIGCONT)

    @contextmanager
    def frozen(self, processes: Sequence[psutil.Process]) -> Iterator[Open]:
        """Stopped while something is done to them, so that none opens or closes a connection: what is open."""
        since = time.time()
        with self._still(processes) as seen:
            try:
                yield seen
            finally:
                if (now := time.time()) > since + _LONG_FREEZE_SECONDS:
                    self.history.stopped.append(Stopped(since, now, "frozen", seen.ports, seen.bodies))

    @contextmanager
    def standing_still(self, what: str, processes: Sequence[psutil.Process]) -> Iterator[None]:
        with self._still(processes) as seen, self.history.standing_still(what, seen):
            yield

    def _bodies(self, processes: Sequence[psutil.Process]) -> frozenset[int]:
        """Deliveries whose body was begun, and nothing more is written down of it."""
        journals = [path for one in processes for path in self.settings.journal_dir.glob(f"{one.pid}-*.journal")]
        said = [item for path in journals for item in read_journal(path).items()]
        return frozenset(delivery for (delivery, _), entry in said if entry.exchange is None)

    def next_version(self) -> Path:
        """A copy of the code with one more migration, as a new version would be."""
        tree = self.folder / "next"
        shutil.copytree(REPOSITORY / "worker", tree / "worker", ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("templates", "config"):
            (tree / name).symlink_to(REPOSITORY / name)
        versions = tree / "worker" / "storage" / "migrations" / "versions"
        newest = max(path.stem.partition("_")[0] for path in versions.glob("[0-9]*.py"))
        (versions / "9999_next_version.py").write_text(_MIGRATION.format(newest=newest))
        return tree

    def upgrade(self, tree: Path) -> None:
        """`pressrun db upgrade` of another version."""
        done = subprocess.run(
            [*super().command("x")[:3], "db", "upgrade"], env={**self.environ, "PYTHONPATH": str(tree)},
            cwd=self.folder, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        if done.returncode:
            raise AssertionError(f"the upgrade failed: {done.stdout}{done.stderr}")

    # -- keeping

    def _keep(self) -> None:
        while not self._closing.wait(_AGAIN_SECONDS):
            with self._lock:
                for part, process in list(self._processes.items()):
                    if part not in self._held and process.poll() is not None:
                        self.history.say(f"{part} ended by itself ({process.returncode}), started again")
                        self.start(part)


def _send(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for one in processes:
        with suppress(psutil.NoSuchProcess):
            os.kill(one.pid, number)


def _stop(processes: Sequence[psutil.Process]) -> None:
    """SIGSTOP, and wait until it has taken effect: on a busy machine their threads go on for milliseconds."""
    _send(processes, signal.SIGSTOP)
    until = time.monotonic() + _STOP_SECONDS
    while any(map(_runs, processes)) and time.monotonic() < until:
        time.sleep(0.0005)


def _runs(process: psutil.Process) -> bool:
    """Whether a thread of it is not stopped yet."""
    try:
        stats = [path.read_text("ascii", "replace") for path in Path(f"/proc/{process.pid}/task").glob("*/stat")]
    except (FileNotFoundError, ProcessLookupError):
        # a thread, or all of it, has just ended
        return Path(f"/proc/{process.pid}").exists()
    # behind the name, which may have spaces in it: T, or Z and X where it has ended
    return any(stat.rpartition(")")[2].split()[0] not in "TZX" for stat in stats)


_MIGRATION = '''"""A column that the next version needs."""

import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "{newest}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("deliveries", sa.Column("of_the_next_version", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("deliveries", "of_the_next_version")
'''
