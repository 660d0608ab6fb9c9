"""Tokens of rate limits: what a claim takes, and what of it comes back because nothing was sent for it.

A row that is given back or held (its hop is down, slow, or asked for a pause) has used no token. What dead domains hold
would otherwise eat the limit of all others, day after day.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Sequence

from worker.delivery.claim import Claim
from worker.delivery.parcels import Result
from worker.delivery.throttling import Grant, Limit, Limiter

# Claims whose rows are still out. What is older comes back to nobody; a limit's window forgets it, too.
_KEPT = 2000

_Key = tuple[int, str]
"""(lease, destination): the destinations of a claim have their own limits, and so grants."""


class Spending:
    """Of one process: the thread that claims takes, the one that records says what came back."""

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter
        self._grants: OrderedDict[_Key, tuple[Sequence[Limit], Grant]] = OrderedDict()
        self._unsent: deque[tuple[_Key, int]] = deque()

    def take(self, limits: Sequence[Limit], wanted: int, *, urgent: bool = False) -> Grant:
        """As `Limiter.take`, after what has come back was returned."""
        self._return_unsent()
        return self._limiter.take(limits, wanted, urgent=urgent)

    def take_each(self, requests: Sequence[tuple[Sequence[Limit], int]]) -> list[Grant]:
        """As `Limiter.take_each`, after what has come back was returned."""
        self._return_unsent()
        return self._limiter.take_each(requests)

    def _return_unsent(self) -> None:
        while self._unsent:
            key, n = self._unsent.popleft()
            spent = self._grants.get(key)
            if spent is not None:
                self._limiter.give_back(*spent, n)

    def claimed(self, limits: Sequence[Limit], grant: Grant, claim: Claim | None, destination: str) -> None:
        """What was taken for this destination of the claim; tokens beyond it are returned at once."""
        taken = claim.taken(destination) if claim else 0
        if claim is not None and taken and limits:
            self._grants[(claim.lease.id, destination)] = (limits, grant)
            if len(self._grants) > _KEPT:
                self._grants.popitem(last=False)
        if taken < grant.tokens:
            self._limiter.give_back(limits, grant, grant.tokens - taken)

    def recorded(self, written: Sequence[Result]) -> None:
        """From any thread, and never blocking: it is told of all results, and looks for those that were not sent."""
        unsent = Counter((one.claimed.lease_id, one.claimed.destination) for one in written if one.exchange is None)
        self._unsent.extend(unsent.items())
