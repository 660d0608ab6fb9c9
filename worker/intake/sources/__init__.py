"""Other systems' webhooks as they are, translated into events."""

from __future__ import annotations

from collections.abc import Mapping

from worker.intake.sources.base import Source, Webhook
from worker.intake.sources.ghost import ghost_event

SOURCES: Mapping[str, Source] = {"ghost": ghost_event}
"""By the word in `POST /v1/sources/{kind}/{publication}`."""

__all__ = ["SOURCES", "Source", "Webhook"]
