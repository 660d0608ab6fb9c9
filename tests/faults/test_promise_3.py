"""Promise 3, and how a worker leaves: nothing stays `sending`, whoever is told to stop."""

from __future__ import annotations

from collections.abc import Callable

from tests.ledger import assert_counters_agree
from tests.running import Running, post_event
from tests.smtpd import Options, SmtpServer


def test_a_worker_told_to_stop_finishes_or_gives_back(system: Callable[..., Running]) -> None:
    """After SIGTERM nothing is left for a takeover: no row `sending`, no journal, and nobody written to twice."""
    with SmtpServer(options=Options(latency=0.002)) as server:
        running = system(server.url, PRESSRUN_LIMIT_PER_SECOND="150")
        running.import_readers(1500)
        running.emit(post_event())
        server.wait_for(lambda one: len(one.messages) > 200, 60)
        running.stop("bulk")
        counts = running.counts()
        assert counts["sending"] == 0
        assert counts["sent"] == len(server.messages) < 1500
        assert list(running.settings.journal_dir.glob("*.journal")) == []
        running.start("bulk")
        running.wait_sent(1500)
        assert len({one.rcpt for one in server.messages}) == len(server.messages) == 1500
    assert_counters_agree(running.database)
