"""The message laid out once (RFC 5322, RFC 2045): fixed pieces, and slots for what differs by reader."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from operator import itemgetter

from worker.domain.delivery import Kind
from worker.domain.message import MessageIdentity, Recipient
from worker.domain.publication import MailingList, Publication
from worker.rendering.cleaning import clean_text
from worker.rendering.headers import address, mailbox, phrase, unstructured
from worker.rendering.holes import Expression
from worker.rendering.places import Escape
from worker.rendering.quoted import encode_piece, encode_value

Slot = tuple[Expression, Escape | None]
# "=_" can occur in no quoted-printable text, so no content can end its part.
_BOUNDARY = "=_pressrun_" + sha256(b"boundary").hexdigest()[:16]
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_SENT_BY_MACHINE = frozenset({Kind.CONFIRMATION, Kind.ALREADY_SUBSCRIBED})


@dataclass(frozen=True, slots=True)
class Text:
    """A text with holes: pieces and slots in turn, beginning and ending with a piece."""

    pieces: tuple[str, ...]
    slots: tuple[Slot, ...]

    def fill(self, recipient: Recipient) -> str:
        values = [*(_reader(slot)(recipient) for slot in self.slots), ""]
        return "".join(part for pair in zip(self.pieces, values, strict=True) for part in pair)


def _reader(slot: Slot) -> Callable[[Recipient], str]:
    expression, escape = slot
    if escape is None:
        return expression.reader()
    if expression.last == "escape":  # the place escapes already
        expression = Expression(expression.field, expression.filters[:-1])
    read = expression.reader()
    return lambda recipient: escape(read(recipient))


class Body:
    """Both parts, ready but for the values. Each distinct value is read, escaped and encoded once a message."""

    def __init__(self, text: Text, html: Text) -> None:
        slots = sorted(dict.fromkeys((*text.slots, *html.slots)), key=lambda slot: str(slot[0]))
        pool: list[bytes] = []
        order: list[int] = []

        def fixed(piece: bytes) -> None:
            if piece:
                order.append(len(slots) + len(pool))
                pool.append(piece)

        for kind, part in (("plain", text), ("html", html)):
            fixed(_part_head(kind))
            for piece, slot in zip(part.pieces, part.slots, strict=False):
                fixed(encode_piece(piece, more=True))
                order.append(slots.index(slot))
            fixed(encode_piece(part.pieces[-1], more=False) + b"\r\n")
        fixed(f"--{_BOUNDARY}--\r\n".encode())
        self._readers = tuple(map(_reader, slots))
        self._pool = tuple(pool)
        self._pick = itemgetter(*order)

    def fill(self, recipient: Recipient) -> tuple[bytes, ...]:
        """What the parts are joined from."""
        # Slots of one field stand side by side; most values are the same under every escape.
        values, before, encoded = [], "", b""
        for read in self._readers:
            value = read(recipient)
            if value != before:
                before, encoded = value, encode_value(value)
            values.append(encoded)
        found: tuple[bytes, ...] = self._pick((*values, *self._pool))
        return found


def _part_head(kind: str) -> bytes:
    return (
        f"--{_BOUNDARY}\r\nContent-Type: text/{kind}; charset=utf-8\r\n"
        "Content-Transfer-Encoding: quoted-printable\r\n\r\n"
    ).encode()


class Head:
    """The header. `subject` is filled per reader only where it has holes."""

    def __init__(self, publication: Publication, kind: Kind, mailing_list: MailingList | None, subject: Text) -> None:
        sender = publication.sender
        self._unsubscribes = kind not in _SENT_BY_MACHINE
        self._subject = subject
        self._fixed_subject = None if subject.slots else _subject(subject.pieces[0])
        lines = [f"From: {mailbox(clean_text(sender.name), sender.email, 6)}"]
        if sender.reply_to:
            lines.append(f"Reply-To: {address(sender.reply_to)}")
        if self._unsubscribes and mailing_list is not None:
            lines.append(f"List-Id: {_list_id(publication, mailing_list)}")
        if kind in _SENT_BY_MACHINE:
            lines.append("Auto-Submitted: auto-generated")  # RFC 3834 §5
        lines.append("MIME-Version: 1.0")
        lines.append(f'Content-Type: multipart/alternative; boundary="{_BOUNDARY}"')
        self._fixed = "\r\n".join(lines).encode() + b"\r\n"

    def fill(self, recipient: Recipient, identity: MessageIdentity) -> bytes:
        subject = self._fixed_subject or _subject(self._subject.fill(recipient))
        return b"".join((
            subject,
            f"To: {mailbox(recipient.name, recipient.email, 4)}\r\n"
            f"Date: {_date(identity.date)}\r\n"
            f"Message-ID: {identity.message_id}\r\n".encode(),
            self._one_click(recipient) if self._unsubscribes else b"",
            self._fixed,
            b"\r\n",
        ))  # fmt: skip

    @staticmethod
    def _one_click(recipient: Recipient) -> bytes:
        """RFC 8058 §3.1: one URI, on one line whatever its length, as it is."""
        if not recipient.unsubscribe_url:
            return b""
        return (
            f"List-Unsubscribe: <{recipient.unsubscribe_url}>\r\n"
            "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
        ).encode()


# the mails of one slice were made at one moment
@lru_cache(maxsize=64)
def _date(moment: datetime) -> str:
    """RFC 5322 §3.3, in UTC."""
    utc = moment.astimezone(UTC)
    day = f"{_DAYS[utc.weekday()]}, {utc.day:02d} {_MONTHS[utc.month - 1]} {utc.year:04d}"
    return f"{day} {utc.hour:02d}:{utc.minute:02d}:{utc.second:02d} +0000"


def _subject(text: str) -> bytes:
    return f"Subject: {unstructured(clean_text(text), 9)}\r\n".encode()


def _list_id(publication: Publication, mailing_list: MailingList) -> str:
    """RFC 2919 §3: the list's name in words, and an identifier in the sender's domain."""
    identifier = f"{mailing_list.slug}.{publication.slug}.{address('x@' + publication.sender.domain)[2:]}"
    name = clean_text(mailing_list.name)
    return f"{phrase(name, 9)}\r\n <{identifier}>" if name else f"<{identifier}>"
