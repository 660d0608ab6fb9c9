"""Promise 6: rate limits hold across all workers together, and a throttled destination never slows the others."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.running import Running, post_event
from tests.smtpd import SmtpServer

LIMIT = 200
READERS = 2000


@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
def test_no_second_above_the_limit(system: Callable[..., Running]) -> None:
    """At the receiver 5% more are allowed, for the network's jitter."""
    with SmtpServer() as server:
        running = system(server.url, PRESSRUN_LIMIT_PER_SECOND=str(LIMIT), PRESSRUN_BULK_PROCESSES="2")
        running.import_readers(READERS)
        running.emit(post_event())
        running.wait_sent(READERS, 90)
        times = sorted(one.at for one in server.messages)
    busiest = max(sum(1 for at in times[i : i + 2 * LIMIT] if at < start + 1.0) for i, start in enumerate(times))
    assert len(times) == READERS
    assert busiest <= LIMIT * 1.05
