"""Everybody outside: a publisher that posts until it has an answer, readers who sign up, click and leave."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx
from sqlalchemy import Row, Select, select

from tests.faults.suite.bed import Bed
from tests.faults.suite.history import Halted
from tests.faults.suite.readers import LIST
from tests.running import TOKEN
from worker.domain.campaign import CampaignStatus
from worker.domain.errors import TemporaryError
from worker.domain.tokens import Claim, KeyRing, Purpose
from worker.storage.models import CampaignRow, SubscriberRow, SubscriptionRow

# The post that all readers get; the second goes to the second list only.
FIRST, SECOND = "post-1", "post-2"
# A webhook's sender has patience; a run has less.
PATIENCE_SECONDS = 90.0
_DONE = {"pause": CampaignStatus.PAUSED, "cancel": CampaignStatus.CANCELLED}


class GaveUp(Exception):
    """No answer within the patience of a publisher."""


class Outside:
    """Tries again until it is answered with less than 500, as senders of webhooks do."""

    def __init__(self, bed: Bed) -> None:
        self._bed = bed
        self._history = bed.history
        self._client = httpx.Client(
            base_url=bed.house.settings.base_url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=5
        )

    def close(self) -> None:
        self._client.close()

    def post(self, event: Mapping[str, Any]) -> int:
        """Post an event; the status of the answer, which is noted."""
        # in escapes, as half a surrogate has no UTF-8 and a poison event may have one
        body, kind = json.dumps(dict(event)), {"Content-Type": "application/json"}
        status = self._ask(lambda: self._client.post("/v1/events", content=body, headers=kind)).status_code
        if 200 <= status < 300:
            self._history.events[event["id"]] = event["type"]
            if event["type"] == "post.published":
                self._history.posts.add(event["data"]["post"]["id"])
        else:
            self._history.refused.add(event["id"])
        return status

    def act(self, post: str, action: str) -> int:
        """Pause, resume, cancel or retry the campaign of a post; the status of the answer."""
        campaign = self.campaign(post)
        assert campaign is not None, f"no campaign of {post} though its event was accepted"
        return self._ask(lambda: self._client.post(f"/v1/campaigns/{campaign}/{action}")).status_code

    def halt(self, post: str, action: str) -> Halted | None:
        """Pause or cancel; None where it had come to its end before."""
        status = self.act(post, action)
        # an API that is killed behind the commit never answered, and to the second asking says that it is done already
        if status != 200 and self._status(post) != _DONE[action]:
            return None
        one = Halted(time.time(), float("inf"), action, post=post)
        self._history.halted.append(one)
        return one

    def _status(self, post: str) -> str:
        rows = self._read(select(CampaignRow.status).where(CampaignRow.post_id == post))
        return str(rows[0].status)

    def confirm(self, address: str, token: str) -> None:
        if self._ask(lambda: self._client.post(f"/confirm/{token}")).status_code == 200:
            self._history.confirmed.add(address)

    def leave(self, address: str) -> None:
        """One click."""
        token = self._token(address)
        form = {"List-Unsubscribe": "One-Click"}
        if self._ask(lambda: self._client.post(f"/unsubscribe/{token}", data=form)).status_code == 200:
            self._history.halted.append(Halted(time.time(), float("inf"), "left", post=FIRST, address=address))

    def campaign(self, post: str) -> int | None:
        rows = self._read(select(CampaignRow.id).where(CampaignRow.post_id == post))
        return rows[0].id if rows else None

    def _token(self, address: str) -> str:
        """What stands in the reader's earlier mails."""
        joined = select(SubscriptionRow.id, SubscriptionRow.generation).join(
            SubscriberRow, SubscriberRow.id == SubscriptionRow.subscriber_id
        )
        (row,) = self._read(joined.where(SubscriberRow.address == address, SubscriptionRow.list_slug == LIST))
        settings = self._bed.house.settings
        keys = KeyRing({settings.secret_key_id: settings.secret_key.encode()}, settings.secret_key_id)
        return keys.sign(Claim(Purpose.UNSUBSCRIBE, row.id, row.generation, int(time.time())))

    def _read(self, statement: Select[*tuple[Any, ...]]) -> Sequence[Row[*tuple[Any, ...]]]:
        """From the ledger, once it is there."""
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                with self._bed.house.database.read() as connection:
                    return connection.execute(statement).all()
            except TemporaryError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)

    def _ask(self, call: Callable[[], httpx.Response]) -> httpx.Response:
        until = time.monotonic() + PATIENCE_SECONDS
        said: object = ""
        while time.monotonic() < until:
            try:
                answer = call()
            except httpx.TransportError as error:
                said = repr(error)
            else:
                if answer.status_code < 500:
                    return answer
                said = f"{answer.status_code} {answer.text[:200]}"
            time.sleep(0.2)
        raise GaveUp(f"no answer within {PATIENCE_SECONDS:.0f} s; last: {said}")
