"""Events and posts that somebody made to hurt, or made wrong."""

from __future__ import annotations

import copy
import random
from typing import Any

from tests.faults.suite.bed import Bed
from tests.faults.suite.faults.table import fault
from tests.faults.suite.publisher import Outside
from tests.running import post_event, signup_event


@fault("poison-event")
def poison(bed: Bed, rng: random.Random) -> str:
    """Each is refused and changes nothing, or is taken and hurts nobody else."""
    name, event = rng.choice(list(_poison().items()))
    event["id"] = f"poison-{name}-{rng.randrange(10**6)}"
    outside = Outside(bed)
    try:
        status = outside.post(event)
    finally:
        outside.close()
    return f"a poison event, {name}: {status}"


def _poison() -> dict[str, dict[str, Any]]:
    """They go to the second list, so that a mail that can be made reaches readers who are accounted for."""
    found: dict[str, dict[str, Any]] = {}
    for name, change in {
        "deep": {"html": "<div>" * 5000 + "x"},
        "template": {"html": "<p>{{ 1 / 0 }}{% raise %}{{ recipient.nothing }}</p>", "title": "{{ 7 * 7 }}"},
        "controls": {"html": "<p>\x00\x01\x1b</p>", "title": "a\x00b"},
        "huge-title": {"title": "t" * 998},
        "line-end": {"title": "one\r\nBcc: victim@example.com"},
        "no-html": {"html": ""},
        "sentinels": {"html": "<p>\ue000\ue001\ufdd0 lone \ud83d surrogate</p>"},
    }.items():
        event = copy.deepcopy(post_event(f"poison-{name}", **change))
        event["data"]["list"] = "extra"
        found[name] = event
    odd = signup_event("odd@example.com")
    odd["data"]["subscriber"]["email"] = "odd@example.com>\r\nRCPT TO:<victim@example.com"
    found["address"] = odd
    wrong = post_event("poison-shape")
    wrong["data"]["post"] = [["not", "a", "post"]]
    found["shape"] = wrong
    return found
