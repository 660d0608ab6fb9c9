"""A bulk worker whose sending processes write down, every 2 ms of CPU, where they are: `profile` starts it.

    python -m benchmarks.sampled FOLDER part bulk

The kernel's profiling timer (setitimer(2), ITIMER_PROF) counts CPU time only and interrupts the thread that uses it;
`faulthandler` writes that thread's stack from within the signal, without waiting for the interpreter's lock. So a
sample falls where the time goes, not where the lock is given up.
"""

from __future__ import annotations

import atexit
import faulthandler
import os
import signal
import sys
from pathlib import Path

from celery.signals import worker_process_init

from worker.cli import main

SECONDS = 0.002


def sample_into(folder: Path) -> None:
    """From now on, this process: one file for each."""
    file = (folder / f"stacks-{os.getpid()}.txt").open("w", encoding="utf-8")
    faulthandler.register(signal.SIGPROF, file=file, all_threads=False)
    signal.setitimer(signal.ITIMER_PROF, SECONDS, SECONDS)
    # an interpreter that ends takes its handler away first, and a signal then would kill the process
    atexit.register(signal.setitimer, signal.ITIMER_PROF, 0)


if __name__ == "__main__":
    place = Path(sys.argv.pop(1))
    # weak=False: nobody else holds it
    worker_process_init.connect(lambda **_: sample_into(place), weak=False)
    sys.exit(main())
