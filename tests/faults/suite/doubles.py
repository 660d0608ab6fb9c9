"""Why a message was received twice. Promise 4 allows these causes, and no other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from tests.faults.suite.books import Books, Call, Delivery, Receipt
from tests.faults.suite.history import Killed, Stopped

KILLED = "conversation open at a kill"
CUT = "cut after the final dot"
STOPPED = "body begun in a process stopped past its lease"
SET_FORWARD = "open when the clock was set past its lease"
UNWRITTEN = "open in a process that could write nothing for a lease"
RELEASED = "held as unknown and released by hand"
HOST_LOST = "journal lost with its host"

# The clocks are the same machine's; between what one process did and another writes down there is this much.
_SLACK_SECONDS = 0.5
# Of each connection: what was under way when the clock was set, and what was offered ahead behind it.
_AT_A_MOMENT = 2


class Causes:
    """Of one run's doubles. A kill explains one message a connection: the last that was taken over it."""

    def __init__(self, books: Books) -> None:
        self._books = books
        by_connection: dict[int, list[Receipt]] = defaultdict(list)
        for one in books.receipts:
            by_connection[one.connection].append(one)
        self._last = {number: max(found, key=lambda one: one.at) for number, found in by_connection.items()}
        self._by_connection = by_connection
        self._ids = {one.message_id: one.id for one in books.deliveries}
        self._killed_ports = {port: kill for kill in books.history.killed for port in kill.ports}

    def of(self, delivery: Delivery, earlier: Receipt, later: Receipt) -> str | None:
        """Why there is a later one although there was an earlier one; None where nothing allows it."""
        history = self._books.history
        if earlier.at < history.released.get(delivery.id, 0.0) <= later.at:
            return RELEASED
        if earlier.answer != "250":
            return CUT
        if self._kill(earlier) is not None:
            return KILLED
        if self._stop(history.stopped, earlier, later) is not None:
            return STOPPED
        if self._stop(history.unwritable, earlier) is not None:
            return UNWRITTEN
        if any(self._under_way(earlier, moment) for moment in history.set_forward):
            return SET_FORWARD
        if any(earlier.at - _SLACK_SECONDS <= lost for lost in history.journals_lost_at):
            return HOST_LOST
        return None

    def not_known(self, one: Receipt) -> bool:
        """Whether its client could not know that it was taken."""
        history = self._books.history
        still = self._stop(history.stopped, one) or self._stop(history.unwritable, one)
        return one.answer != "250" or self._kill(one) is not None or still is not None

    def _kill(self, one: Receipt) -> Killed | None:
        """The kill at which its conversation was open."""
        call = self._books.connections.get(one.connection)
        if call is None or call.quit or self._last[one.connection] is not one:
            return None
        kill = self._killed_ports.get(call.port)
        if kill is not None and one.at <= max(kill.at, kill.gone_at) + _SLACK_SECONDS:
            return kill
        return self._opened_after(one, call)

    def _opened_after(self, one: Receipt, call: Call) -> Killed | None:
        """The kill of a parent whose children opened this connection before they noticed, and died with it."""
        opened = min(each.began for each in self._by_connection[one.connection])
        for kill in self._books.history.killed:
            # who held none when it was looked at (an API, a scheduler) sends nothing
            if kill.ports and kill.at <= opened and kill.at <= call.closed_at <= kill.gone_at + _SLACK_SECONDS:
                return kill
        return None

    def _stop(self, stops: Sequence[Stopped], *either: Receipt) -> Stopped | None:
        """The standstill in which one of these conversations was open."""
        for stop in stops:
            for one in either:
                call = self._books.connections.get(one.connection)
                if call is None or call.port not in stop.ports:
                    continue
                if self._open_at(one, stop):
                    return stop
        return None

    def _under_way(self, one: Receipt, moment: Stopped) -> bool:
        """Whether it is of those of its connection that were nearest to that moment."""
        call = self._books.connections.get(one.connection)
        if call is None or call.port not in moment.ports:
            return False
        near = sorted(self._by_connection[one.connection], key=lambda each: _distance(each, moment.since))
        at_hand = one in near[:_AT_A_MOMENT] and _distance(one, moment.since) <= _SLACK_SECONDS
        return at_hand and self._has_body(one, moment)

    def _has_body(self, one: Receipt, stop: Stopped) -> bool:
        """It was out before the standstill was over, or its process had written down that it begins."""
        return one.body_at <= stop.until or self._ids.get(one.message_id) in stop.bodies

    def _open_at(self, one: Receipt, stop: Stopped) -> bool:
        """Begun before the standstill, and either taken after it or the last thing taken before it.

        With its body: who stood still past the lease begins none of what was open.
        """
        if one.began > stop.since + _SLACK_SECONDS or not self._has_body(one, stop):
            return False
        before = [each for each in self._by_connection[one.connection] if each.at <= stop.since + _SLACK_SECONDS]
        return one.at >= stop.until - _SLACK_SECONDS or (bool(before) and max(before, key=lambda each: each.at) is one)


def _distance(one: Receipt, moment: float) -> float:
    """Seconds between a conversation and a moment; 0 where it was open then."""
    return max(one.began - moment, moment - one.at, 0.0)
