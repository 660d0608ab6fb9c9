"""What became of deliveries, written to the ledger in sets, where the fencing token still matches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from worker.delivery import queries
from worker.delivery.parcels import Claimed, Result
from worker.delivery.transports.base import Exchange
from worker.domain.delivery import DeliveryStatus, Kind, Reason
from worker.domain.replies import Judgement, Outcome
from worker.domain.retry import RetryAt, RetryPolicy
from worker.storage.moves import Move, record_moves

_HOLD = "hold"
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


def record(
    connection: Connection, policy: RecordPolicy, results: Sequence[Result], *, clean: bool = True
) -> list[Result]:
    """Write the outcomes that still hold; those whose lease was taken over are left out.

    `clean`: what is given back counts against no row; not so after a process that died with them. Returns what was
    written, for the caller to log and count. Runs in the caller's transaction.
    """
    holds = queries.held(connection, [(one.claimed.id, one.claimed.lease_id) for one in results])
    ours = [one for one in results if (one.claimed.id, one.claimed.lease_id) in holds]
    back = [one for one in ours if one.exchange is None and not one.fault]
    if back:
        queries.give_back(connection, [one.claimed.id for one in back], clean=clean)
    ended = [(one, _verdict(policy, one)) for one in ours if one.exchange is not None or one.fault]
    if ended:
        queries.write_outcomes(connection, [_outcome_row(one, verdict) for one, verdict in ended])
    attempts = [row for one, verdict in ended for row in _attempt_rows(one, verdict)]
    if attempts:
        queries.add_attempts(connection, attempts)
    for one, verdict in ended:
        _suppress(connection, one, verdict)
    record_moves(connection, [*map(_back_move, back), *(_move(one, verdict) for one, verdict in ended)])
    return ours


def _verdict(policy: RecordPolicy, result: Result) -> _Verdict:
    if result.fault or result.exchange is None:
        return _Verdict(DeliveryStatus.FAILED, Reason.TEMPLATE_FAULT)
    judgement = result.exchange.judgement
    match judgement.outcome:
        case Outcome.ACCEPTED:
            return _Verdict(DeliveryStatus.SENT, Reason.NONE)
        case Outcome.RECIPIENT:
            return _Verdict(DeliveryStatus.BOUNCED, judgement.reason)
        case Outcome.FAULT:
            return _Verdict(DeliveryStatus.FAILED, judgement.reason)
        case Outcome.UNKNOWN if _holds_unknown(policy, result.claimed.kind):
            return _Verdict(DeliveryStatus.UNKNOWN, Reason.UNKNOWN_OUTCOME)
        case _:
            return _again(policy, result, judgement)


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


def _outcome_row(result: Result, verdict: _Verdict) -> dict[str, Any]:
    claimed, exchange = result.claimed, result.exchange
    tried = exchange is not None
    return {
        "b_id": claimed.id, "b_status": verdict.status, "b_reason": verdict.reason,
        "b_attempts": claimed.attempts + tried, "b_first": claimed.first_attempt_at or (result.at if tried else None),
        "b_last": result.at, "b_next": verdict.next_attempt_at, **_reply(result),
    }  # fmt: skip


def _reply(result: Result) -> Mapping[str, Any]:
    exchange = result.exchange
    if exchange is None:
        return {"b_code": None, "b_enhanced": "", "b_reply": result.fault[:_REPLY_CHARS]}
    if exchange.reply is None:
        return {"b_code": None, "b_enhanced": "", "b_reply": exchange.detail[:_REPLY_CHARS]}
    reply = exchange.reply
    return {"b_code": reply.code, "b_enhanced": reply.enhanced[:16], "b_reply": reply.text[:_REPLY_CHARS]}


def _attempt_rows(result: Result, verdict: _Verdict) -> list[dict[str, Any]]:
    """None for what went through at first try: the delivery itself tells it, and most are of that kind."""
    exchange = result.exchange
    if exchange is None or (verdict.status is DeliveryStatus.SENT and result.claimed.attempts == 0):
        return []
    reply = _reply(result)
    return [
        {
            "delivery_id": result.claimed.id, "at": result.at, "outcome": exchange.judgement.outcome,
            "code": reply["b_code"], "enhanced": reply["b_enhanced"], "reply": reply["b_reply"],
            "duration_ms": round(exchange.duration * 1000),
        }
    ]  # fmt: skip


def _suppress(connection: Connection, result: Result, verdict: _Verdict) -> None:
    exchange = result.exchange
    if verdict.status is not DeliveryStatus.BOUNCED or exchange is None or not exchange.judgement.suppress:
        return
    claimed: Claimed = result.claimed
    evidence = f"delivery {claimed.id}: {_said(exchange)}"
    queries.suppress_bounced(connection, claimed.publication, claimed.id, evidence, result.at)


def _said(exchange: Exchange) -> str:
    return str(exchange.reply or exchange.detail)[:_REPLY_CHARS]


def _move(result: Result, verdict: _Verdict) -> Move:
    slice_id = result.claimed.slice_id
    return Move(slice_id, DeliveryStatus.SENDING, Reason.NONE, verdict.status, verdict.reason)


def _back_move(result: Result) -> Move:
    return Move(result.claimed.slice_id, DeliveryStatus.SENDING, Reason.NONE, DeliveryStatus.QUEUED, Reason.NONE)
