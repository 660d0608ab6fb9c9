"""The SQL of retries: one row for each campaign that is being retried, and one delivery at a time."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, delete, insert, select, update

from worker.campaigns.queries import AnyRow, Rows
from worker.domain.delivery import DeliveryStatus
from worker.storage.models import DeliveryRow, RetryRow

_R, _D = RetryRow, DeliveryRow


def retry_of(connection: Connection, campaign_id: int) -> AnyRow | None:
    """(statuses, cursor); the campaign is locked by the caller."""
    return connection.execute(select(_R.statuses, _R.cursor).where(_R.campaign_id == campaign_id)).one_or_none()


def add_retry(connection: Connection, campaign_id: int, statuses: Sequence[str]) -> None:
    connection.execute(insert(_R).values(campaign_id=campaign_id, statuses=list(statuses), cursor=0))


def change_retry(connection: Connection, campaign_id: int, statuses: Sequence[str], cursor: int) -> None:
    values = {"statuses": list(statuses), "cursor": cursor}
    connection.execute(update(_R).where(_R.campaign_id == campaign_id).values(values))


def drop_retry(connection: Connection, campaign_id: int) -> None:
    connection.execute(delete(_R).where(_R.campaign_id == campaign_id))


def campaign_of(connection: Connection, delivery_id: int) -> AnyRow | None:
    """(id, campaign_id)"""
    return connection.execute(select(_D.id, _D.campaign_id).where(_D.id == delivery_id)).one_or_none()


def lock_delivery(connection: Connection, delivery_id: int) -> AnyRow:
    """(id, slice_id, reason, status, expires_at); after its campaign, as everywhere."""
    columns = _D.id, _D.slice_id, _D.reason, _D.status, _D.expires_at
    return connection.execute(select(*columns).where(_D.id == delivery_id).with_for_update()).one()


def take_transactional(
    connection: Connection, status: DeliveryStatus, publication: str | None, after: int, limit: int
) -> Rows:
    """(id, slice_id, reason, expires_at) of the next transactional rows by id."""
    columns = _D.id, _D.slice_id, _D.reason, _D.expires_at
    statement = select(*columns).where(_D.campaign_id.is_(None), _D.status == status, _D.id > after)
    if publication is not None:
        statement = statement.where(_D.publication == publication)
    return connection.execute(statement.order_by(_D.id).limit(limit).with_for_update(skip_locked=True)).all()
