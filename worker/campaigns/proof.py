"""A proof: one post sent to one address as a test, before its readers get it or after."""

from __future__ import annotations

from datetime import datetime
from uuid import uuid4

from sqlalchemy import Connection

from worker.campaigns import proof_queries
from worker.domain.delivery import Kind
from worker.domain.errors import NotFound
from worker.storage.outbox import Outgoing, put


def put_proof(connection: Connection, post: str, email: str, destination: str, now: datetime) -> int:
    """Queue a test mail of `post` (a post's id, or a campaign's number) to `email`; the delivery to be rung.

    `destination` is the group of `shaping.toml` that the address belongs to. Raises `NotFound`.
    """
    campaign = proof_queries.campaign_of(connection, post)
    if campaign is None:
        raise NotFound(f"there is no campaign and no post {post!r}; `pressrun status` lists them")
    outgoing = Outgoing(
        publication=campaign.publication, kind=Kind.TEST, address=email, destination=destination,
        # each proof is one of its own, however often the same one is asked for
        dedupe_key=f"test:{campaign.id}:{uuid4()}", expires_at=None, shows_campaign_id=campaign.id,
    )  # fmt: skip
    delivery_id = put(connection, outgoing, now)
    assert delivery_id is not None, "its key was drawn a moment ago"
    return delivery_id
