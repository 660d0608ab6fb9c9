"""What a reply asks for, in the words that servers use."""

from __future__ import annotations

import pytest

from worker.domain.waiting import asked_wait


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Too much mail from you, try again in 5 minutes", 300),
        ("try again in 30 seconds", 30),
        ("Please retry after 2 hours", 7200),
        ("Greylisted, see http://postgrey.schweikert.ch/help/example.com.html, please come back in 00:04:12", 252),
        ("Greylisting in action, please come back later", None),
        ("Recipient address rejected: Greylisted for 60 seconds", 60),
        ("rate limit exceeded; wait 90s", 90),
        ("[TSS04] Messages temporarily deferred due to unexpected volume or user complaints", None),
        ("100 messages in 60 seconds are allowed, try again later", None),
        ("100 messages in 60 seconds are allowed, try again in 10 min", 600),
        ("Try again in an hour", 3600),
        ("Retry-After: 120", 120),
        ("Please wait for another 15 mins and resend", 900),
        ("Mail server is busy. Try again in about 10 minutes.", 600),
        ("mailbox full", None),
        ("your mail was deferred for 1 hour", 3600),
        ("try again in 2 weeks", None),
        ("", None),
    ],
)
def test_what_it_asks_for(text: str, seconds: float | None) -> None:
    assert asked_wait(text) == seconds
