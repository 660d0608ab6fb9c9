"""Content → Message → Envelope: what is said, the bytes that say it, and to whom they go."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

# What is made for every mail is a tuple: a frozen dataclass sets each field by a call, and takes three times as long.


class Recipient(NamedTuple):
    """What a template may say about one reader. Values are plain text; links are absolute ASCII URLs."""

    email: str
    name: str = ""
    locale: str = ""
    unsubscribe_url: str = ""
    manage_url: str = ""
    confirm_url: str = ""

    @property
    def first_name(self) -> str:
        return self.name.split()[0] if self.name.split() else ""


class MessageIdentity(NamedTuple):
    """What makes a message the same message when it is sent again (RFC 5322 §3.6.1, §3.6.4)."""

    message_id: str
    """With its angle brackets; derived from the delivery, never random."""
    date: datetime
    """Aware; the delivery's own time, not the attempt's."""


@dataclass(frozen=True, slots=True)
class Content:
    """The rendered parts of one mail, decoded."""

    subject: str
    html: str
    text: str


class Envelope(NamedTuple):
    """RFC 5321 §2.3.1: where a message goes and where its bounces return. One recipient each."""

    mail_from: str
    rcpt_to: str


class Message(NamedTuple):
    """RFC 5322 bytes with CRLF line ends, as DATA gets them but for the dots that SMTP doubles."""

    data: bytes
    dotless: bool = False
    """Known to have no line that starts with a dot, so that nobody need look: a look takes as long as making it."""
