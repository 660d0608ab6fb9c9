"""The SQL of the campaigns room: the campaign itself, and moving its rows. The rest is beside it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Update, bindparam, func, select, text, update
from sqlalchemy.dialects import postgresql, sqlite

from worker.domain.campaign import CampaignStatus
from worker.domain.delivery import DeliveryStatus, Reason
from worker.storage import spans
from worker.storage.models import UNTIDY, CampaignRow, DeliveryRow, RetryRow, SliceRow, TallyRow

_C, _D, _T = CampaignRow, DeliveryRow, TallyRow

AnyRow = Row[*tuple[Any, ...]]
Rows = Sequence[AnyRow]

# Any number: it keeps these locks apart from other users of the same PostgreSQL database.
_LOCK_SPACE = 7077

# All but the post, which may be large.
HEAD = (
    _C.id, _C.publication, _C.post_id, _C.list_slug, _C.labels, _C.status, _C.reason, _C.created_at, _C.released_at,
    _C.plan_cursor, _C.plan_until, _C.planned_at, _C.started_at, _C.finished_at,
    _C.rests_until,
)  # fmt: skip

_LOCK = select(*HEAD).where(_C.id == bindparam("id")).with_for_update(key_share=True)


def serialise(connection: Connection, what: str) -> None:
    """One at a time until the end of this transaction. On SQLite every write is that already."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK_SPACE, func.hashtext(what))))


# -- the campaign


def head(connection: Connection, campaign_id: int) -> AnyRow | None:
    return connection.execute(select(*HEAD).where(_C.id == campaign_id)).one_or_none()


def lock(connection: Connection, campaign_id: int) -> AnyRow | None:
    """The campaign, kept still until the end of this transaction; rows that refer to it may come and go."""
    return connection.execute(_LOCK, {"id": campaign_id}).one_or_none()


def lock_by_post(connection: Connection, publication: str, post_id: str) -> AnyRow | None:
    statement = select(*HEAD).where(_C.publication == publication, _C.post_id == post_id)
    return connection.execute(statement.with_for_update(key_share=True)).one_or_none()


def add_campaign(connection: Connection, values: Mapping[str, object]) -> int | None:
    """The new campaign's id, or None where the publication's post has one."""
    flavour = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    statement = flavour(_C).values(dict(values)).on_conflict_do_nothing(index_elements=["publication", "post_id"])
    added: int | None = connection.execute(statement.returning(_C.id)).scalar_one_or_none()
    return added


def change(connection: Connection, campaign_id: int, values: Mapping[str, object]) -> None:
    connection.execute(update(_C).where(_C.id == campaign_id).values(dict(values)))


def advance(connection: Connection, campaign_id: int, until: int, values: Mapping[str, object]) -> bool:
    """Move the planner's cursor, with other values at its end; False where the campaign is not being planned."""
    at = {"campaign": campaign_id, "until": until}
    return connection.execute(_ADVANCE.values(dict(values)) if values else _ADVANCE, at).rowcount == 1


_ADVANCE = (
    update(_C)
    .where(_C.id == bindparam("campaign"), _C.status == CampaignStatus.PLANNING)
    .values(plan_cursor=bindparam("until"))
)


def released_since(connection: Connection, publication: str, since: datetime, before: datetime) -> int:
    """How many of its campaigns were released later than `since` and earlier than `before`."""
    statement = select(func.count()).where(
        _C.publication == publication, _C.released_at > since, _C.released_at < before
    )
    return int(connection.execute(statement).scalar_one())


def post(connection: Connection, campaign_id: int) -> Mapping[str, object]:
    found: Mapping[str, object] = connection.execute(select(_C.post).where(_C.id == campaign_id)).scalar_one()
    return found


def ids_with_status(connection: Connection, statuses: Collection[str], reason: str | None = None) -> list[int]:
    statement = select(_C.id).where(_C.status.in_(list(statuses))).order_by(_C.id)
    if reason is not None:
        statement = statement.where(_C.reason == reason)
    return list(connection.execute(statement).scalars())


def untidy_ids(connection: Connection) -> list[int]:
    """Those with rows still to be moved, by a cancel, a reopening or a retry."""
    untidy = connection.execute(select(_C.id).where(text(UNTIDY))).scalars()
    retried = connection.execute(select(RetryRow.campaign_id)).scalars()
    return sorted({*untidy, *retried})


# -- moving rows


def take_rows(
    connection: Connection, campaign_id: int, status: DeliveryStatus, reason: Reason | None, after: int, limit: int
) -> Rows:
    """(id, slice_id, reason) of the next rows by id, `limit` at most; none where there are no more.

    What a worker is just moving is skipped, not waited for.
    """
    statement = select(_D.id, _D.slice_id, _D.reason).with_for_update(skip_locked=True)
    if reason is not None:
        statement = statement.where(_D.reason == reason)
    return next((lot for lot in spans.walk(connection, statement, campaign_id, status, after, limit) if lot), ())


def cancel_rows(connection: Connection, ids: Sequence[int]) -> None:
    connection.execute(_rows(ids).values(
        status=DeliveryStatus.CANCELLED, reason=Reason.CAMPAIGN_CANCELLED, next_attempt_at=None
    ))  # fmt: skip


def requeue_rows(connection: Connection, ids: Sequence[int]) -> None:
    """To the queue with a new life: what has expired or was tried in vain is tried as if for the first time."""
    connection.execute(_rows(ids).values(
        status=DeliveryStatus.QUEUED, reason=Reason.NONE, claims=0, attempts=0,
        first_attempt_at=None, next_attempt_at=None,
    ))  # fmt: skip


def settle_rows(connection: Connection, ids: Sequence[int]) -> None:
    """Considered sent, by somebody who knows."""
    connection.execute(_rows(ids).values(status=DeliveryStatus.SENT, reason=Reason.NONE, next_attempt_at=None))


MOVES = {
    DeliveryStatus.CANCELLED: cancel_rows, DeliveryStatus.QUEUED: requeue_rows, DeliveryStatus.SENT: settle_rows,
}  # fmt: skip


def _rows(ids: Sequence[int]) -> Update:
    return update(_D).where(_D.id.in_(ids))


def has_rows(connection: Connection, campaign_id: int, statuses: Collection[DeliveryStatus]) -> bool:
    """Whether any of its deliveries has one of these, by the tallies.

    One statement, so one moment: a row on its way between two of the statuses is not missed.
    """
    some = (
        select(_T.n)
        .join(SliceRow, SliceRow.id == _T.slice_id)
        .where(SliceRow.campaign_id == campaign_id, _T.status.in_(list(statuses)), _T.n > 0)
        .limit(1)
    )
    return connection.execute(some).first() is not None
