"""The SQL of proofs."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, select

from worker.storage.models import CampaignRow


def campaign_of(connection: Connection, post: str) -> Row[*tuple[Any, ...]] | None:
    """(id, publication) of the newest campaign of a post's id, else of the campaign with that number."""
    head = select(CampaignRow.id, CampaignRow.publication)
    found = connection.execute(head.where(CampaignRow.post_id == post).order_by(CampaignRow.id.desc()).limit(1)).first()
    if found is None and post.isascii() and post.isdigit() and len(post) < 18:
        found = connection.execute(head.where(CampaignRow.id == int(post))).first()
    return found
