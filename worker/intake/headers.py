"""Header values of the CloudEvents binary mode and media types, read as their specifications say."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from worker.domain.errors import InvalidInput

_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ESCAPE = re.compile(r"\\(.)")
_BROKEN_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_VISIBLE = re.compile(r"[\x20-\x7e]*")


def attribute_value(attribute: str, value: str) -> str:
    """Unquote, then percent-decode once (`http-protocol-binding.md` §3.1.3.2).

    Raises `InvalidInput` naming `attribute` for octets beyond ASCII, broken percent-encoding and what does
    not decode to UTF-8, such as the overlong `%C0%A0`.
    """
    text = value.strip(" \t")
    if not _VISIBLE.fullmatch(text):
        raise InvalidInput.of(attribute, "holds octets beyond ASCII; percent-encode them")
    if text.startswith('"'):
        quoted = _QUOTED.fullmatch(text)
        if quoted is None:
            raise InvalidInput.of(attribute, "begins with a quote that is not closed")
        text = _ESCAPE.sub(r"\1", quoted[1])
    if _BROKEN_PERCENT.search(text):
        raise InvalidInput.of(attribute, "holds a % without two hexadecimal digits; write %25 for a percent sign")
    try:
        return unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidInput.of(attribute, "is percent-encoded, but not from UTF-8") from None


def media_type(value: str) -> tuple[str, str]:
    """(type/subtype, charset), both in lower case; empty where they are not given (RFC 9110 §8.3.1)."""
    kind, _, rest = value.partition(";")
    charset = ""
    for parameter in rest.split(";"):
        name, _, given = parameter.partition("=")
        if name.strip().lower() == "charset":
            charset = given.strip().strip('"').lower()
    return kind.strip().lower(), charset
