"""The whole delivery pipeline in one figure: a campaign to N readers, from the first claim to the last record.

    python benchmarks/pipeline.py --readers 20000 --processes 2 --database sqlite

Everything is real: the ledger (`sqlite`, or a PostgreSQL URL), an embedded Redis, Celery's bulk and transactional
workers, the scheduler, and a sink in a process of its own (`smtp_sink.py`) that reads every byte. One line of JSON:
readers, seconds from the event to the last mail at the sink, mails a second at the sink, and at the end the counts
by status, which must say that all are `sent`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.running import post_event, running, wait_until
from tests.servers import REPOSITORY, running_postgres, running_redis

PARTS = ("transactional", "bulk", "scheduler")


@contextmanager
def sink() -> Iterator[tuple[int, subprocess.Popen[str]]]:
    process = subprocess.Popen(
        [sys.executable, str(REPOSITORY / "benchmarks" / "smtp_sink.py"), "--port", "0"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    port = int(process.stdout.readline().rsplit(":", 1)[1])
    try:
        yield port, process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


@contextmanager
def ledger(kind: str, folder: Path) -> Iterator[str]:
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'bench.db'}"
    elif kind == "postgresql":
        with running_postgres() as server:
            yield server.create("bench")
    else:
        yield kind


def measure(readers: int, processes: int, connections: int, kind: str) -> dict[str, object]:
    with (
        tempfile.TemporaryDirectory(prefix="pr-bench-") as name, running_redis() as redis, sink() as (port, process),
        ledger(kind, Path(name)) as url,
    ):  # fmt: skip
        environ = {
            "PRESSRUN_DATABASE_URL": url, "PRESSRUN_REDIS_URL": redis.url,
            "PRESSRUN_SMTP_URL": f"smtp://127.0.0.1:{port}", "PRESSRUN_BULK_PROCESSES": str(processes),
            "PRESSRUN_SMTP_CONNECTIONS": str(connections), "PRESSRUN_SWEEP_SECONDS": "5",
            "PRESSRUN_SMTP_MESSAGES_PER_CONNECTION": "1000000",
        }  # fmt: skip
        with running(Path(name), environ, PARTS) as system:
            system.import_readers(readers)
            wait_until(lambda: "ready" in system.log("bulk"), 60, system.describe)
            began = time.time()
            system.emit(post_event())
            wait_until(lambda: system.counts()["sent"] >= readers, 1800, system.describe)
            process.terminate()
            out, _ = process.communicate(timeout=20)
            counts = dict(system.counts())
        seen = json.loads(out.strip().splitlines()[-1])
    return {
        "database": kind, "readers": readers, "processes": processes, "connections": connections,
        "event_to_first_mail_s": round(seen["first"] - began, 2),
        "event_to_last_mail_s": round(seen["last"] - began, 2),
        "mails_per_second": seen["per_second"], "received": seen["messages"], "counts": counts,
    }  # fmt: skip


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readers", type=int, default=20_000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--connections", type=int, default=20)
    parser.add_argument("--database", default="sqlite", help="sqlite, postgresql (one of our own), or a URL")
    given = parser.parse_args(arguments)
    print(json.dumps(measure(given.readers, given.processes, given.connections, given.database)))


if __name__ == "__main__":
    sys.path.insert(0, str(REPOSITORY))
    main(sys.argv[1:])
