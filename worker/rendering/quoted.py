"""Quoted-printable (RFC 2045 §6.7), laid out so that a value can be dropped between prepared pieces.

Each piece and each value starts in the first column and ends with a line end, so neither needs to know the
other's length. No line is longer than 76 characters, and none starts with a dot: nothing is left for SMTP's
dot-stuffing (RFC 5321 §4.5.2).
"""

from __future__ import annotations

_WIDTH = 75  # and the "=" of a soft break
_SOFT = "=\r\n"
_CODES = [chr(byte) if (32 <= byte <= 126 and byte != 61) or byte == 9 else f"={byte:02X}" for byte in range(256)]


def _fold(text: str) -> list[str]:
    """The lines of one line of text, none wider than 75; at least one."""
    lines: list[str] = []
    line = ""
    for byte in text.encode():
        code = _CODES[byte]
        if len(line) + len(code) > _WIDTH:
            lines.append(line)
            line = ""
        line += "=2E" if code == "." and not line else code
    return [*lines, line]


def _fold_hard(text: str) -> list[str]:
    """The same where a hard line end follows: white space before it would be lost on the way (§6.7 rule 3)."""
    if text[-1:] not in (" ", "\t"):
        return _fold(text)
    lines, code = _fold(text[:-1]), f"={ord(text[-1]):02X}"
    if len(lines[-1]) + len(code) > _WIDTH:
        return [*lines, code]
    lines[-1] += code
    return lines


def encode_piece(text: str, *, more: bool) -> bytes:
    """Fixed text with `\\n` line ends. With `more` a value or another piece follows on the same line."""
    *before, last = text.split("\n")
    lines = [_SOFT.join(_fold_hard(line)) for line in before]
    lines.append(_SOFT.join(_fold(last) if more else _fold_hard(last)))
    return ("\r\n".join(lines) + (_SOFT if more and last else "")).encode("ascii")


def encode_value(text: str) -> bytes:
    """A value between two pieces; nothing for nothing. The common case, plain ASCII, costs under a microsecond."""
    if text.isascii() and text.isprintable() and "=" not in text:
        if not text:
            return b""
        lines = text
        if len(text) > _WIDTH:
            lines = _SOFT.join([text[at : at + _WIDTH] for at in range(0, len(text), _WIDTH)])
        if lines[0] != "." and "\n." not in lines:
            return lines.encode("ascii") + b"=\r\n"
    return (_SOFT.join(_fold(text.replace("\n", "\r\n"))) + _SOFT).encode("ascii")
