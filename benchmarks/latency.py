"""Two lanes: how long a sign-up's confirmation takes from the request to the sink while a bulk send runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import httpx

from benchmarks import posts
from benchmarks.bed import Bed, Setup, made
from benchmarks.report import Options, Result
from benchmarks.sinks import PythonSink, opened
from tests.running import wait_until

_READERS = 80_000
_SIGN_UPS = 200
_A_SECOND = 25


def run(options: Options) -> Result:
    found = {database: measure(Setup(database, options.size(_READERS))) for database in options.databases}
    rows = [
        (name, one["sign_ups"], one["during"], f"{one['bulk_per_second']:,.0f}", _ms(one["p50"]), _ms(one["p99"]),
         _ms(one["longest"]), _ms(one["answer_p50"]))
        for name, one in found.items()
    ]  # fmt: skip
    header = ("ledger", "sign-ups", "while bulk ran", "bulk mails/s", "p50", "p99", "longest", "answer p50")
    return Result(header, rows, found, ["From `POST /p/daily/subscribe` to the message at the (Python) sink."])


def measure(setup: Setup, a_second: float = _A_SECOND) -> dict[str, float]:
    """Seconds, and the bulk send's speed at the same time. `a_second`: sign-ups."""
    with opened(PythonSink, "--watch", "signup") as sink:
        with made(setup, sink) as bed:
            began = bed.send(posts.event())
            wait_until(lambda: bed.campaign().get("counts", {}).get("sent", 0) > 0, 60, bed.system.describe)
            asked, answered = _sign_up(bed, a_second)
            done = bed.wait(setup.readers, 60 + setup.readers / 100)
            wait_until(lambda: bed.system.counts()["sent"] == setup.readers + len(asked), 60, bed.system.describe)
        seen = sink.report()
    assert seen["messages"] == seen["recipients"] == setup.readers + len(asked)
    came: dict[str, float] = seen["watched"]
    waits = sorted(came[address] - at for address, at in asked.items())
    return {
        "sign_ups": len(waits), "during": sum(at < done for at in asked.values()),
        "bulk_per_second": round(setup.readers / (done - began), 1),
        "p50": percentile(waits, 0.5), "p99": percentile(waits, 0.99), "longest": waits[-1],
        "answer_p50": percentile(sorted(answered), 0.5),
    }  # fmt: skip


def percentile(ascending: Sequence[float], part: float) -> float:
    """The nearest rank: the least value that this part of all do not exceed."""
    return ascending[max(0, -(-int(part * 1000) * len(ascending) // 1000) - 1)]


def _sign_up(bed: Bed, a_second: float) -> tuple[dict[str, float], list[float]]:
    """({address: `time.time()` of its request}, seconds until each answer)."""
    with ThreadPoolExecutor(8) as threads, bed.system.api() as client:
        began = time.monotonic()
        pending = []
        for number in range(_SIGN_UPS):
            time.sleep(max(0.0, began + number / a_second - time.monotonic()))
            pending.append(threads.submit(_post, client, f"signup{number}@north.example"))
        done = [one.result() for one in pending]
    return {address: at for address, at, _ in done}, [seconds for _, _, seconds in done]


def _post(client: httpx.Client, address: str) -> tuple[str, float, float]:
    at = time.time()
    answer = client.post("/p/daily/subscribe", json={"email": address}, headers={"Accept": "application/json"})
    assert answer.status_code == 200, answer.text
    return address, at, time.time() - at


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms"
