"""The SQL of the turns: whose it is, and the chains that take them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, func, insert, or_, select, text, update
from sqlalchemy.orm import aliased

from worker.campaigns.queries import AnyRow
from worker.domain.delivery import DeliveryStatus
from worker.storage.models import GOING, HELD, CampaignRow, DeliveryRow, SlotRow

_C, _D = CampaignRow, DeliveryRow
_PEER = aliased(CampaignRow)


def next_campaign(connection: Connection, now: datetime) -> int | None:
    """The going campaign with queued rows whose publication, then itself, was served longest ago.

    One probe of the queued index for each going campaign. Ordered as that index is, so that PostgreSQL has no
    use for reading the table until it meets a row; and a subquery, so that it cannot become a join of millions.
    """
    first_queued = (
        select(_D.id)
        .where(_D.campaign_id == _C.id, _D.status == DeliveryStatus.QUEUED)
        .order_by(_D.destination, _D.id)
        .limit(1)
        .scalar_subquery()
    )
    # Whatever campaign it was, a finished one too: many small ones in a row would be first every time.
    publication_served = select(func.max(_PEER.served_at)).where(_PEER.publication == _C.publication).scalar_subquery()
    statement = (
        select(_C.id)
        .where(text(GOING), text(f"NOT {HELD}"), first_queued.is_not(None))
        .where(or_(_C.rests_until.is_(None), _C.rests_until <= now))
        .order_by(publication_served.nulls_first(), _C.publication, _C.served_at.nulls_first(), _C.id)
        .limit(1)
    )
    found: int | None = connection.execute(statement).scalar_one_or_none()
    return found


def serve(connection: Connection, campaign_id: int, now: datetime) -> None:
    values = {"served_at": now, "started_at": func.coalesce(_C.started_at, now)}
    connection.execute(update(_C).where(_C.id == campaign_id).values(values))


def rest(connection: Connection, campaign_ids: Sequence[int], until: datetime | None) -> None:
    connection.execute(update(_C).where(_C.id.in_(campaign_ids)).values(rests_until=until))


def resting(connection: Connection, beyond: datetime) -> Sequence[AnyRow]:
    """(id, publication) of going campaigns that rest for longer."""
    return connection.execute(select(_C.id, _C.publication).where(text(GOING), _C.rests_until > beyond)).all()


def lock_slots(connection: Connection, below: int) -> Sequence[AnyRow]:
    """All chains, kept still. All, for on PostgreSQL a chain just becoming idle does not yet look it."""
    statement = select(SlotRow.slot, SlotRow.rung, SlotRow.started, SlotRow.touched_at)
    return connection.execute(statement.where(SlotRow.slot < below).order_by(SlotRow.slot).with_for_update()).all()


def lock_slot(connection: Connection, slot: int) -> AnyRow | None:
    statement = select(SlotRow.slot, SlotRow.rung, SlotRow.started, SlotRow.touched_at).where(SlotRow.slot == slot)
    return connection.execute(statement.with_for_update()).one_or_none()


def add_slots(connection: Connection, slots: Sequence[int], touched_at: datetime) -> None:
    connection.execute(insert(SlotRow), [{"slot": slot, "touched_at": touched_at} for slot in slots])


def start_slot(connection: Connection, slot: int, number: int, now: datetime) -> bool:
    statement = update(SlotRow).where(SlotRow.slot == slot, SlotRow.started < number)
    return connection.execute(statement.values(started=number, touched_at=now)).rowcount == 1


def touch_slot(connection: Connection, slot: int, number: int, now: datetime) -> bool:
    statement = update(SlotRow).where(SlotRow.slot == slot, SlotRow.started == number)
    return connection.execute(statement.values(touched_at=now)).rowcount == 1


def ring_slot(connection: Connection, slot: int, number: int, now: datetime) -> None:
    connection.execute(update(SlotRow).where(SlotRow.slot == slot).values(rung=number, touched_at=now))


def idle_slot(connection: Connection, slot: int, at: datetime) -> None:
    connection.execute(update(SlotRow).where(SlotRow.slot == slot).values(touched_at=at))
