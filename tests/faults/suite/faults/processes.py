"""Processes killed, told to end, and stopped for longer than their lease."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress

import psutil
from sqlalchemy import select

from tests.faults.suite.bed import LEASE_SECONDS, Bed
from tests.faults.suite.faults.table import fault
from tests.faults.suite.house import PARTS, SECOND_SCHEDULER
from tests.running import wait_until
from worker.delivery.journal import read_journal
from worker.storage.models import DeliveryRow

# A chain whose process died is rung again within 10 s.
_SENDING_AGAIN_SECONDS = 20.0

Choose = Callable[[Bed, random.Random], Sequence[psutil.Process]]


def _register_kill(part: str) -> None:
    @fault(f"kill-{part}")
    def kill(bed: Bed, rng: random.Random) -> str:
        """The main process; its children end by themselves."""
        seconds = rng.uniform(0.1, 1.5)
        with bed.house.down(part):
            bed.house.kill_main(part)
            bed.pause(seconds)
        return f"SIGKILL to {part}, up again after {seconds:.1f} s"


for _part in ("api", "bulk", "transactional", "scheduler"):
    _register_kill(_part)


@fault("kill-bulk-family")
def kill_family(bed: Bed, rng: random.Random) -> str:
    """Main process and children in the same moment."""
    seconds = rng.uniform(0.1, 4.0)
    with bed.house.down("bulk"):
        bed.house.kill_all("bulk")
        bed.pause(seconds)
    return f"SIGKILL to all of bulk, up again after {seconds:.1f} s"


@fault("kill-child")
def kill_child(bed: Bed, rng: random.Random) -> str:
    """One of the sending processes; the pool starts another."""
    for victim in _child(bed, rng):
        bed.house.sigkill("a child of bulk", [victim])
        psutil.wait_procs([victim], 10)
    return "SIGKILL to a child of bulk"


@fault("kill-transactional-child")
def kill_transactional_child(bed: Bed, _rng: random.Random) -> str:
    """The process that sends confirmations."""
    children = bed.house.processes("transactional")[1:]
    bed.house.sigkill("a child of transactional", children)
    psutil.wait_procs(children, 10)
    return "SIGKILL to the child of transactional"


@fault("kill-any-worker", drawn=False)
def kill_any(bed: Bed, rng: random.Random) -> str:
    """Any process of the bulk worker or the transactional one's child, once mail is going out again."""
    draw = rng.random()
    house = bed.house
    until = time.monotonic() + _SENDING_AGAIN_SECONDS
    while not house.senders() and time.monotonic() < until:
        time.sleep(0.02)
    workers = [one for one in (*house.processes("bulk"), *house.processes("transactional")[1:]) if _lives(one)]
    victim = workers[int(draw * len(workers))]
    if victim.pid == workers[0].pid:
        with house.down("bulk"):
            house.kill_main("bulk")
        return "SIGKILL to bulk"
    house.sigkill("a child", [victim])
    wait_until(lambda: not _lives(victim), 10)
    return "SIGKILL to a child"


def _lives(one: psutil.Process) -> bool:
    """Not dead and unburied: Celery's pool may bury its children 5 s later, in which the rest send all there is."""
    with suppress(psutil.NoSuchProcess):
        return bool(one.status() != psutil.STATUS_ZOMBIE)
    return False


@fault("host-lost", drawn=False)
def host_lost(bed: Bed, _rng: random.Random) -> str:
    """All processes of Pressrun's, and its journals; another host with another folder takes over."""
    house = bed.house
    with ExitStack() as stack:
        for part in PARTS:
            stack.enter_context(house.down(part))
        house.kill_house()
        bed.history.unrecorded = _unrecorded(bed)
        shutil.rmtree(house.settings.journal_dir)
        bed.history.journals_lost_at.append(bed.history.now())
        bed.pause(1.0)
    return f"the host is lost with its journals; {bed.history.unrecorded} mails stood in them and not in the ledger"


def _unrecorded(bed: Bed) -> int:
    """Conversations that only the journals know of."""
    known = [key for path in bed.house.settings.journal_dir.glob("*.journal") for key in read_journal(path)]
    with bed.house.database.read() as connection:
        rows = connection.execute(select(DeliveryRow.id, DeliveryRow.lease_id).where(DeliveryRow.lease_id.is_not(None)))
        held = {(row.id, row.lease_id) for row in rows}
    return len(held & set(known))


def _register_term(part: str) -> None:
    @fault(f"term-{part}")
    def term(bed: Bed, rng: random.Random) -> str:
        """As a service manager ends it."""
        seconds = rng.uniform(0.0, 1.0)
        with bed.house.down(part):
            clean = bed.house.terminate(part)
            bed.pause(seconds)
        return f"SIGTERM to {part}" + ("" if clean else ": it had to be killed")


for _part in ("api", "bulk", "transactional", "scheduler"):
    _register_term(_part)


@fault("term-child")
def term_child(bed: Bed, rng: random.Random) -> str:
    """One of the sending processes alone. Nobody asks it to stop in this way; the pool starts another."""
    for victim in _child(bed, rng):
        bed.house.sigterm("a child of bulk", victim)
        psutil.wait_procs([victim], 10)
    return "SIGTERM to a child of bulk"


def _register_stop(name: str, choose: Choose) -> None:
    @fault(f"stop-{name}")
    def stop(bed: Bed, rng: random.Random) -> str:
        """A lease runs out while its owner still lives; then it wakes and goes on."""
        seconds = LEASE_SECONDS * rng.uniform(1.3, 2.0)
        victims = choose(bed, rng)
        with bed.house.standing_still(name, victims):
            bed.pause(seconds)
        return f"SIGSTOP to {name} for {seconds:.1f} s"


def _child(bed: Bed, rng: random.Random) -> Sequence[psutil.Process]:
    draw = rng.random()
    senders = bed.house.senders() or bed.house.processes("bulk")[1:]
    return [senders[int(draw * len(senders))]] if senders else []


def _family(part: str) -> Choose:
    return lambda bed, _: bed.house.processes(part)


def _main(part: str) -> Choose:
    return lambda bed, _: bed.house.processes(part)[:1]


_register_stop("child", _child)
_register_stop("bulk", _family("bulk"))
_register_stop("bulk-main", _main("bulk"))
_register_stop("transactional", _family("transactional"))
_register_stop("scheduler", _main("scheduler"))
_register_stop("api", _main("api"))


@fault("two-schedulers")
def two_schedulers(bed: Bed, rng: random.Random) -> str:
    """A second one, as on a second host, for a while."""
    seconds = rng.uniform(3.0, 6.0)
    house = bed.house
    (house.folder / "var-2").mkdir(exist_ok=True)
    house.start(SECOND_SCHEDULER)
    bed.pause(seconds)
    house.dismiss(SECOND_SCHEDULER)
    return f"two schedulers for {seconds:.1f} s"
