"""The whole delivery pipeline in one figure: a campaign to N readers, from the first claim to the last record.

    python -m benchmarks.pipeline --readers 20000 --processes 2 --database sqlite [--limit 500]

Everything is real: the ledger (`sqlite`, or a PostgreSQL URL), an embedded Redis, Celery's bulk and transactional
workers, the scheduler, and a sink in a process of its own (`smtp_sink.py`) that reads every byte. One line of JSON:
readers, seconds from the event to the last mail at the sink, mails a second at the sink, and at the end the counts
by status, which must say that all are `sent`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.smtp_client import SinkProcess
from tests.running import post_event, running, wait_until
from tests.servers import running_postgres, running_redis

PARTS = ("transactional", "bulk", "scheduler")


@contextmanager
def ledger(kind: str, folder: Path) -> Iterator[str]:
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'bench.db'}"
    elif kind == "postgresql":
        with running_postgres() as server:
            yield server.create("bench")
    else:
        yield kind


def measure(given: argparse.Namespace) -> dict[str, object]:
    with tempfile.TemporaryDirectory(prefix="pr-bench-") as name, running_redis() as redis:
        folder, sink = Path(name), SinkProcess()
        with ledger(given.database, folder) as url:
            environ = {
                "PRESSRUN_DATABASE_URL": url, "PRESSRUN_REDIS_URL": redis.url,
                "PRESSRUN_SMTP_URL": f"smtp://127.0.0.1:{sink.port}", "PRESSRUN_BULK_PROCESSES": str(given.processes),
                "PRESSRUN_SMTP_CONNECTIONS": str(given.connections), "PRESSRUN_SWEEP_SECONDS": "5",
                "PRESSRUN_SMTP_MESSAGES_PER_CONNECTION": "1000000", "PRESSRUN_LIMIT_PER_SECOND": str(given.limit),
            }  # fmt: skip
            with running(folder, environ, PARTS) as system:
                system.import_readers(given.readers)
                wait_until(lambda: "ready" in system.log("bulk"), 60, system.describe)
                began = time.time()
                system.emit(post_event())
                wait_until(lambda: system.counts()["sent"] >= given.readers, 1800, system.describe)
                counts = dict(system.counts())
        seen = sink.report()
    return {
        **vars(given), "event_to_first_mail_s": round(seen["first"] - began, 2),
        "event_to_last_mail_s": round(seen["last"] - began, 2), "counts": counts, "sink": seen,
    }  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readers", type=int, default=20_000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--connections", type=int, default=20)
    parser.add_argument("--database", default="sqlite", help="sqlite, postgresql (one of our own), or a URL")
    parser.add_argument("--limit", type=int, default=0, help="mails a second over all processes; 0: none")
    print(json.dumps(measure(parser.parse_args(arguments))))


if __name__ == "__main__":
    main()
