"""What could open a door (keys, bearer tokens, token links, passwords) is taken out of whatever is written or shown."""

from __future__ import annotations

import re

_HIDDEN = "[hidden]"
_SECRETS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"whsec_[A-Za-z0-9+/_=-]+"), f"whsec_{_HIDDEN}"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}"), rf"\1 {_HIDDEN}"),
    # the links of mails: who has one can act for its reader
    # (and whoever has it torn may mend it: all that stands behind it; a backslash before a quote is JSON's)
    (
        re.compile(r"(?i)((?:/|%2f)(?:confirm|unsubscribe|manage)(?:/|%2f|=))(?:\\[^\s\"]|[^\s\"'<>?#\\])+"),
        rf"\1{_HIDDEN}",
    ),
    # and wherever else one stands: base64url of version 1, a key's number, a purpose (domain/tokens.py)
    (
        re.compile(
            r"(?:(?<![A-Za-z0-9_-])|(?<=confirm)|(?<=unsubscribe)|(?<=manage)|(?<=[23][DFdf]))"
            r"A[Q-f][AEIMQUYcgkosw048][BCD][A-Za-z0-9_-]{20,}"
        ),
        _HIDDEN,
    ),
    # passwords in the URLs of databases, brokers and relays; looked for from the `://` on, since a stranger's path of
    # 60 KB in which every word could be a scheme took a second to be logged
    (re.compile(r"(://[^\s:/@]*:)[^\s@/]+@"), rf"\1{_HIDDEN}@"),
)


def redact(text: str) -> str:
    """The text without what could open a door."""
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text
