"""What a stranger typed, made fit for a header, a text and a page. Every path into a mail cleans here, once."""

from __future__ import annotations

import re
from urllib.parse import quote

from worker.domain.message import Recipient

# C0 and C1 controls but for white space (which is collapsed), lone surrogates, bidi overrides and isolates
# (they turn the rest of a line around), the byte-order mark, and the noncharacters of the basic plane.
_UNFIT = "\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufdd0-\ufdef\ufffe\uffff"
# Each further plane ends in two noncharacters.
_UNFIT += "".join(f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in range(0x10000, 0x110000, 0x10000))
_UNFIT_TEXT = re.compile(f"[{_UNFIT}]+")
# Line ends that are not `\n`, for text of several lines.
_LINE_ENDS = re.compile("\r\n|[\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_REFERENCE = re.compile(r"&#(?:[xX]0*([0-9a-fA-F]{1,6})(?![0-9a-fA-F])|0*([0-9]{1,7})(?![0-9]));?")
_URL = re.compile(r"https?://[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+")
_URL_SAFE = "-._~:/?#[]@!$&'()*+,;=%"


def clean_text(value: str) -> str:
    """One line: nothing unfit, every run of white space (line ends too) one space, none at the ends."""
    # isprintable() is false for everything in _UNFIT and for every white space but the plain space
    if value.isprintable() and "  " not in value and value[:1] != " " != value[-1:]:
        return value
    return " ".join(_UNFIT_TEXT.sub("", value).split())


def clean_lines(value: str) -> str:
    """Several lines: nothing unfit, every line end a plain `\\n`."""
    return _UNFIT_TEXT.sub("", _LINE_ENDS.sub("\n", value)).replace("\x1f", " ")


def clean_references(html: str) -> str:
    """Numeric references (HTML §13.2.5.80) to what is unfit stand for what `clean_lines` makes of it.

    Where that is nothing, for a space without width: with nothing in its place, what stands around it could become
    another reference.
    """
    return _REFERENCE.sub(_referred, html)


def _referred(match: re.Match[str]) -> str:
    number = int(match[1], 16) if match[1] else int(match[2])
    if number > 0x10FFFF:
        return match[0]
    # old editors wrote the numbers of Windows' own characters, and HTML reads them so
    char = bytes([number]).decode("cp1252", "ignore") if 0x80 <= number <= 0x9F else ""
    if char:
        return char
    clean = clean_lines(chr(number))
    return match[0] if clean == chr(number) else clean or "\u200b"


def clean_url(value: str) -> str:
    """An absolute http(s) URL in ASCII (RFC 3986 §2), anything else in it percent-encoded; otherwise nothing."""
    if not value or _URL.fullmatch(value):
        return value
    encoded = quote(_UNFIT_TEXT.sub("", value).strip(), safe=_URL_SAFE)
    return encoded if _URL.fullmatch(encoded) else ""


def clean_recipient(recipient: Recipient) -> Recipient:
    """The recipient as every path renders it."""
    return Recipient(
        clean_text(recipient.email),
        clean_text(recipient.name),
        clean_text(recipient.locale),
        clean_url(recipient.unsubscribe_url),
        clean_url(recipient.manage_url),
        clean_url(recipient.confirm_url),
    )
