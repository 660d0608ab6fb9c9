"""What `docs/events.md` shows is taken as it stands there."""

from __future__ import annotations

import json
import re

import httpx
import pytest

from tests.integration.web.test_events import post
from tests.servers import REPOSITORY
from worker.domain.events import EventType

_BLOCK = re.compile(r"^```json\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("backend", ["sqlite"])
def test_every_event_of_the_documentation_is_taken(http: httpx.Client) -> None:
    text = (REPOSITORY / "docs" / "events.md").read_text("utf-8")
    events = [json.loads(block) for block in _BLOCK.findall(text)]
    assert {event["type"] for event in events} == set(EventType)
    for event in events:
        answer = post(http, event)
        assert (answer.status_code, answer.json()["status"]) == (202, "accepted"), event["id"]
