"""What became of deliveries, written to the ledger in sets, where the fencing token still matches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from worker.delivery import queries, set_queries, warmup
from worker.delivery.parcels import Claimed, Hold, Result
from worker.delivery.set_queries import OutcomeRow
from worker.delivery.transports.base import Exchange
from worker.domain.audience import address_key
from worker.domain.delivery import DeliveryStatus, Kind, Reason
from worker.domain.replies import Judgement, Outcome
from worker.domain.retry import RetryAt, RetryPolicy
from worker.storage.moves import Move, record_moves

_HOLD = "hold"
_LAST_LOOK = timedelta(seconds=10)
# A reply is kept for people to read; a server may say much.
_REPLY_CHARS = 500


@dataclass(frozen=True, slots=True)
class RecordPolicy:
    """How outcomes become statuses."""

    retry: RetryPolicy
    unknown_bulk: str
    unknown_transactional: str
    uniform: Callable[[float, float], float]


@dataclass(frozen=True, slots=True)
class _Verdict:
    status: DeliveryStatus
    reason: Reason
    next_attempt_at: datetime | None = None


_SENDING = _Verdict(DeliveryStatus.SENDING, Reason.NONE)
_QUEUED = _Verdict(DeliveryStatus.QUEUED, Reason.NONE)
_SENT = _Verdict(DeliveryStatus.SENT, Reason.NONE)


def record(
    connection: Connection, policy: RecordPolicy, results: Sequence[Result], *, clean: bool = True
) -> list[Result]:
    """Write the outcomes that still hold; those whose lease was taken over are left out.

    `clean`: what is given back counts against no row; not so after a process that died with them. Returns what was
    written, for the caller to log and count. Runs in the caller's transaction.
    """
    if len({one.claimed.id for one in results}) < len(results):
        # one delivery under two leases, of which one was taken over: each by itself, to see which of them holds
        return [written for one in results for written in record(connection, policy, [one], clean=clean)]
    # in the order in which everybody locks them
    results = sorted(results, key=lambda one: one.claimed.id)
    back = _give_back(connection, [one for one in results if _goes_back(one)], clean=clean)
    ended = [(one, _verdict(policy, one)) for one in results if not _goes_back(one)]
    holds = set_queries.write_outcomes(connection, [_outcome_row(one, verdict) for one, verdict in ended])
    ours = [(one, verdict) for one, verdict in ended if one.claimed.id in holds]
    written = back + [one for one, _ in ours]
    # before the tallies, as a claim takes from it: or the two would wait for each other crosswise
    warmup.give_back(connection, written)
    attempts = [row for one, verdict in ours for row in _attempt_rows(one, verdict)]
    if attempts:
        queries.add_attempts(connection, attempts)
    for one, verdict in ours:
        if verdict.status is DeliveryStatus.BOUNCED:
            _suppress(connection, one)
    ends = [(one.claimed.slice_id, _QUEUED) for one in back] + [(one.claimed.slice_id, end) for one, end in ours]
    record_moves(connection, _counted(_SENDING, ends))
    return written


def _goes_back(result: Result) -> bool:
    return result.exchange is None and not result.fault and result.hold is None


def _give_back(connection: Connection, back: Sequence[Result], *, clean: bool) -> list[Result]:
    if not back:
        return []
    holds = queries.held(connection, [(one.claimed.id, one.claimed.lease_id) for one in back])
    ours = [one for one in back if (one.claimed.id, one.claimed.lease_id) in holds]
    queries.give_back(connection, [one.claimed.id for one in ours], clean=clean)
    return ours


def _verdict(policy: RecordPolicy, result: Result) -> _Verdict:
    if result.hold is not None:
        return _held(policy, result.claimed, result.hold, result.at)
    if result.fault or result.exchange is None:
        return _Verdict(DeliveryStatus.FAILED, Reason.TEMPLATE_FAULT)
    judgement = result.exchange.judgement
    match judgement.outcome:
        case Outcome.ACCEPTED:
            return _SENT
        case Outcome.RECIPIENT:
            return _Verdict(DeliveryStatus.BOUNCED, judgement.reason)
        case Outcome.FAULT:
            return _Verdict(DeliveryStatus.FAILED, judgement.reason)
        case Outcome.UNKNOWN if _holds_unknown(policy, result.claimed.kind):
            return _Verdict(DeliveryStatus.UNKNOWN, Reason.UNKNOWN_OUTCOME)
        case _:
            return _again(policy, result, judgement)


def _held(policy: RecordPolicy, claimed: Claimed, hold: Hold, now: datetime) -> _Verdict:
    """It has an end all the same: its time runs from when it would first have gone."""
    # what waits for longer than the longest backoff would be taken for a wrong clock's work, again and again
    until = min(hold.until, now + policy.retry.cap)
    end = policy.retry.end(claimed.first_attempt_at or now, claimed.expires_at)
    # a long one ends with a last look
    until = min(until, max(now + _LAST_LOOK, end - _LAST_LOOK))
    if until < end:
        return _Verdict(DeliveryStatus.DEFERRED, hold.reason, until)
    return _Verdict(DeliveryStatus.EXPIRED, hold.reason)


def _holds_unknown(policy: RecordPolicy, kind: Kind) -> bool:
    bulk = kind is Kind.NEW_POST
    return (policy.unknown_bulk if bulk else policy.unknown_transactional) == _HOLD


def _again(policy: RecordPolicy, result: Result, judgement: Judgement) -> _Verdict:
    claimed = result.claimed
    decision = policy.retry.decide(
        attempts=claimed.attempts + 1,
        first_attempt_at=claimed.first_attempt_at or result.at,
        now=result.at,
        expires_at=claimed.expires_at,
        uniform=policy.uniform,
    )
    if isinstance(decision, RetryAt):
        return _Verdict(DeliveryStatus.DEFERRED, judgement.reason, decision.at)
    return _Verdict(DeliveryStatus.EXPIRED, judgement.reason)


def _outcome_row(result: Result, verdict: _Verdict) -> OutcomeRow:
    claimed, exchange = result.claimed, result.exchange
    tried = exchange is not None
    first = claimed.first_attempt_at or (result.at if tried or result.hold else None)
    return OutcomeRow(
        claimed.id, claimed.lease_id, verdict.status, verdict.reason, claimed.attempts + tried, first, result.at,
        verdict.next_attempt_at, *_reply(result),
    )  # fmt: skip


def _reply(result: Result) -> tuple[int | None, str, str]:
    """Code, enhanced code, text."""
    exchange = result.exchange
    if exchange is None:
        return None, "", (result.hold.why if result.hold else result.fault)[:_REPLY_CHARS]
    reply = exchange.reply
    if reply is None:
        return None, "", exchange.detail[:_REPLY_CHARS]
    return reply.code, reply.enhanced[:16], reply.text[:_REPLY_CHARS]


def _attempt_rows(result: Result, verdict: _Verdict) -> list[dict[str, Any]]:
    """None for what went through at first try: the delivery itself tells it, and most are of that kind."""
    exchange = result.exchange
    if exchange is None or (verdict.status is DeliveryStatus.SENT and result.claimed.attempts == 0):
        return []
    code, enhanced, text = _reply(result)
    return [
        {
            "delivery_id": result.claimed.id, "at": result.at, "outcome": exchange.judgement.outcome,
            "code": code, "enhanced": enhanced, "reply": text,
            "duration_ms": round(exchange.duration * 1000),
        }
    ]  # fmt: skip


def _suppress(connection: Connection, result: Result) -> None:
    exchange, claimed = result.exchange, result.claimed
    if exchange is not None and exchange.judgement.suppress:
        evidence = f"delivery {claimed.id}: {_said(exchange)}"
        # what was written to, which need not be what the reader has by now
        queries.suppress_bounced(connection, claimed.publication, address_key(claimed.address), evidence, result.at)


def _said(exchange: Exchange) -> str:
    return str(exchange.reply or exchange.detail)[:_REPLY_CHARS]


def _counted(old: _Verdict, ends: Iterable[tuple[int, _Verdict]]) -> list[Move]:
    """From (slice, where its row went): the moves, each with how many made it."""
    return [
        Move(slice_id, old.status, old.reason, status, reason, n)
        for (slice_id, status, reason), n in Counter((one, end.status, end.reason) for one, end in ends).items()
    ]
