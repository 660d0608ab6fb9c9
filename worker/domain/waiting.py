"""How long a reply asks us to wait, where it says so in words."""

from __future__ import annotations

import re

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
# "try again in 5 minutes", "retry after 300 seconds", "come back in 00:04:12 minutes", "please wait 2 hours",
# "greylisted for 60 seconds", "deferred for 1 hour", "Retry-After: 120"
_LEAD = r"\b(?:in|after|for|wait(?:\s+for)?|next|least|retry[- ]?after)\s*[:=]?\s*(?:about\s+|another\s+|at least\s+)?"
_AMOUNT = re.compile(
    rf"{_LEAD}(\d{{1,6}})\s*(s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?)\b", re.IGNORECASE
)
_CLOCK = re.compile(rf"{_LEAD}(\d{{1,2}}):(\d{{2}}):(\d{{2}})\b", re.IGNORECASE)
_BARE = re.compile(r"\bretry[- ]?after\s*[:=]?\s*(\d{1,6})\b", re.IGNORECASE)
_WORDS = re.compile(rf"{_LEAD}(?:an?|one)\s+(second|minute|hour)\b", re.IGNORECASE)
# "in 5 minutes" alone may be about anything ("10 messages in 5 minutes"); it is a wish only where this stands too
_AGAIN = re.compile(
    r"\bagain\b|\bretry|\bcome back\b|\bwait\b|\bgr[ae]ylist|\bdefer|\bresume\b|\bresend\b", re.IGNORECASE
)


def asked_wait(text: str) -> float | None:
    """Seconds a reply's text asks for, or None where it names no time. The last of several counts.

    A rate ("100 messages in 60 seconds, try again later") is no wish: an amount counts from the word that asks.
    """
    # one space each: a server that sends a thousand would have all of them tried as the beginning of an amount
    text = " ".join(text.split())
    asks = _AGAIN.search(text)
    if asks is None:
        return None
    wish = text[asks.start() :]
    if found := _CLOCK.search(wish):
        hours, minutes, seconds = map(int, found.groups())
        return float(hours * 3600 + minutes * 60 + seconds)
    if amounts := _AMOUNT.findall(wish):
        number, unit = amounts[-1]
        return int(number) * _UNITS[unit[0].lower()]
    if found := _WORDS.search(wish):
        return _UNITS[found[1][0].lower()]
    if found := _BARE.search(wish):
        return float(found[1])
    return None
