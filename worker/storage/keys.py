"""The dedupe key of a campaign's delivery: one for each campaign and subscriber, whatever is planned again."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, String, cast, literal


def campaign_key(campaign_id: ColumnElement[Any], subscriber_id: ColumnElement[Any]) -> ColumnElement[str]:
    """`c:CAMPAIGN:SUBSCRIBER`. The campaign first: what is planned together stands together in the index."""
    campaign, subscriber = (cast(one, String) for one in (campaign_id, subscriber_id))
    return literal("c:", String).concat(campaign).concat(":").concat(subscriber)
