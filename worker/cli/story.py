"""The demo's story, told through the faces that users have: HTTP, the command line, and a mailbox."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from worker.cli.samples import sample_event
from worker.domain.campaign import CampaignStatus
from worker.domain.delivery import DeliveryStatus
from worker.domain.errors import PressrunError

# A step that takes longer has gone wrong; a campaign may take as long as it likes while it moves.
PATIENCE_SECONDS = 60.0
_POLL_SECONDS = 0.1
_PAGE = 1000


class DemoFailed(PressrunError):
    """A step of the demo did not come to its end."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of it. Nothing is `missing` when every delivery was sent and seen in the inbox exactly once."""

    counts: Mapping[str, int]
    examples: tuple[Mapping[str, Any], ...]
    missing: tuple[str, ...]
    deliveries: int = field(default=0)


class Story:
    """`api` speaks for the publication, `inbox` to the pages of the mailbox. `tag` tells one run from another."""

    def __init__(self, api: httpx.AsyncClient, inbox: httpx.AsyncClient, tag: str) -> None:
        self._api = api
        self._inbox = inbox
        self._tag = tag

    @property
    def reader(self) -> str:
        """Who signs up."""
        local, _, domain = str(sample_event("subscriber-created")["data"]["subscriber"]["email"]).partition("@")
        return f"{local}+{self._tag}@{domain}" if self._tag else f"{local}@{domain}"

    async def sign_up(self) -> None:
        """The sample sign-up, as the publisher's site would report it."""
        event = self._tagged(sample_event("subscriber-created"))
        event["data"]["subscriber"]["email"] = self.reader
        await self._emit(event)

    async def confirmation(self) -> str:
        """Wait for the confirmation in the inbox; the link it carries."""
        found: list[dict[str, Any]] = []

        async def arrived() -> bool:
            answer = await self._inbox.get("/api/messages", params={"to": self.reader})
            found[:] = answer.json()["messages"]
            return bool(found)

        await _until(arrived, f"no confirmation for {self.reader} came into the inbox")
        mail = (await self._inbox.get(f"/api/messages/{found[0]['id']}")).json()
        link = re.search(r"https?://[^\s\"'<>]+/confirm/[A-Za-z0-9_-]+", mail["text"] or mail["html"] or "")
        if link is None:
            raise DemoFailed("the confirmation mail holds no link")
        return link[0]

    async def confirm(self, link: str) -> None:
        """As a browser does: look at the page, then press its button."""
        # by its path: wherever links are said to lead, this system is the one that is shown
        path = httpx.URL(link).path
        for answer in (await self._api.get(path), await self._api.post(path)):
            if answer.status_code != httpx.codes.OK:
                raise DemoFailed(f"{answer.request.method} of the confirmation link was answered {answer.status_code}")

    async def publish(self) -> int:
        """The sample post; the number of its campaign."""
        event = self._tagged(sample_event("post-published"))
        if self._tag:
            event["data"]["post"]["id"] += f"-{self._tag}"
        await self._emit(event)
        answer = await self._api.get(f"/v1/events/{event['id']}")
        campaign: int | None = answer.json().get("campaign")
        if campaign is None:
            raise DemoFailed(f"the post made no campaign: {answer.text}")
        return campaign

    async def follow(self, campaign: int, show: Callable[[Mapping[str, Any]], None]) -> Mapping[str, Any]:
        """`show` the campaign as it moves, until it is finished."""
        loop = asyncio.get_running_loop()
        seen, moved = "", loop.time()
        while True:
            answer = await self._api.get(f"/v1/campaigns/{campaign}")
            found: dict[str, Any] = answer.json()
            show(found)
            if found["status"] == CampaignStatus.FINISHED:
                return found
            if found["status"] in (CampaignStatus.PAUSED, CampaignStatus.FAILED, CampaignStatus.CANCELLED):
                raise DemoFailed(f"campaign {campaign} is {found['status']}: {found['reason']}")
            if str(found["counts"]) != seen:
                seen, moved = str(found["counts"]), loop.time()
            if loop.time() - moved > PATIENCE_SECONDS:
                raise DemoFailed(f"campaign {campaign} has not moved for {PATIENCE_SECONDS:.0f} s: {seen}")
            await asyncio.sleep(_POLL_SECONDS)

    async def verdict(self, campaign: int, seen: Mapping[str, int]) -> Verdict:
        """Hold every delivery against the inbox, by Message-ID."""
        deliveries = [one async for one in self._deliveries(campaign)]
        missing = [
            *(f"delivery {one['id']} is {one['status']}" for one in deliveries if one["status"] != DeliveryStatus.SENT),
            *(f"delivery {one['id']} was seen {seen.get(one['message_id'], 0)} times"
              for one in deliveries if seen.get(one["message_id"], 0) != 1),
        ]  # fmt: skip
        counts = Counter(one["status"] for one in deliveries)
        return Verdict(counts, tuple(deliveries[:5]), tuple(missing), len(deliveries))

    async def _deliveries(self, campaign: int) -> Any:
        after = 0
        while True:
            answer = await self._api.get(
                f"/v1/campaigns/{campaign}/deliveries", params={"after": after, "limit": _PAGE}
            )
            page = answer.json()
            for one in page:
                yield one
            if len(page) < _PAGE:
                return
            after = page[-1]["id"]

    def _tagged(self, event: dict[str, Any]) -> dict[str, Any]:
        return {**event, "id": f"{event['id']}-{self._tag}"} if self._tag else event

    async def _emit(self, event: Mapping[str, Any]) -> None:
        kind = {"Content-Type": "application/cloudevents+json"}
        answer = await self._api.post("/v1/events", json=event, headers=kind)
        if answer.status_code not in (httpx.codes.ACCEPTED, httpx.codes.OK):
            raise DemoFailed(f"event {event['id']} was answered {answer.status_code}: {answer.text}")


async def _until(condition: Callable[[], Awaitable[bool]], otherwise: str) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE_SECONDS
    while not await condition():
        if loop.time() > deadline:
            raise DemoFailed(f"{otherwise} within {PATIENCE_SECONDS:.0f} s")
        await asyncio.sleep(_POLL_SECONDS)
