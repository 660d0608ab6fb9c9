"""One envelope and message as SMTP commands and body, or the reason why they cannot be."""

from __future__ import annotations

import re

from worker.delivery.transports.offers import Offers
from worker.domain.message import Envelope, Message
from worker.domain.replies import Reply, Stage

# A control character, a space or an angle bracket would end the path and start something else.
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f-\x9f<>\u2028\u2029\ud800-\udfff]")
PATH_LIMIT = 254
"""Bytes of an address (RFC 5321 §4.5.3.1.3, less the angle brackets)."""

_BAD_SENDER = Reply(553, "5.1.7", "the return path is not an address that can be written on the wire")
_BAD_RECIPIENT = Reply(553, "5.1.3", "not an address that can be written on the wire")
_NO_SMTPUTF8 = Reply(553, "5.6.7", "address needs SMTPUTF8, which the next hop does not offer")
_NO_8BIT = Reply(554, "5.6.3", "message has 8-bit bytes, and the next hop does not offer 8BITMIME")


def refusal(envelope: Envelope, message: Message, offers: Offers) -> tuple[Stage, Reply] | None:
    """A reply of our own, for what must not or need not be offered to this next hop; else None."""
    if not _writable(envelope.rcpt_to) or not envelope.rcpt_to:
        return Stage.RCPT, _BAD_RECIPIENT
    if not _writable(envelope.mail_from):
        return Stage.MAIL, _BAD_SENDER
    if not offers.smtputf8 and not (envelope.rcpt_to.isascii() and envelope.mail_from.isascii()):
        return Stage.MAIL, _NO_SMTPUTF8
    size = len(message.data)
    if offers.size and size > offers.size:
        text = f"message of {size} bytes, the next hop takes {offers.size}"
        return Stage.MAIL, Reply(552, "5.3.4", text)
    if not offers.eight_bit and not message.data.isascii():
        return Stage.MAIL, _NO_8BIT
    return None


def _writable(address: str) -> bool:
    return not _FORBIDDEN.search(address) and len(address.encode()) <= PATH_LIMIT


def mail_command(envelope: Envelope, message: Message, offers: Offers) -> bytes:
    parameters = ""
    if offers.size is not None:
        parameters = f" SIZE={len(message.data)}"
    if not message.data.isascii():
        parameters += " BODY=8BITMIME"
    if not (envelope.rcpt_to.isascii() and envelope.mail_from.isascii()):
        parameters += " SMTPUTF8"
    return f"MAIL FROM:<{envelope.mail_from}>{parameters}\r\n".encode()


def rcpt_command(envelope: Envelope) -> bytes:
    return f"RCPT TO:<{envelope.rcpt_to}>\r\n".encode()


def body(message: Message, behind: bytes = b"") -> bytes:
    """The message as it goes over the wire, final dot and all (RFC 5321 §4.5.2), and what is written `behind` it.

    A dot after a bare LF is doubled too: some servers take that for the end of the message and what follows
    for commands (SMTP smuggling, CVE-2023-51764).
    """
    data = message.data
    # rfind looks for the rarer character first: 9 µs in 20 KB of quoted-printable, where `in` takes 19 µs
    if not message.dotless and (data.rfind(b"\n.") >= 0 or data.startswith(b".")):
        data = data.replace(b"\n.", b"\n..")
        data = b"." + data if data.startswith(b".") else data
    return b"".join((data, b".\r\n" if data.endswith(b"\r\n") else b"\r\n.\r\n", behind))
