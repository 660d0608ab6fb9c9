"""Header fields (RFC 5322 §2.2, §3.6): written so that no value can end a line, and none needs folding later."""

from __future__ import annotations

import re
from functools import lru_cache

from worker.rendering.errors import Unaddressable

LONGEST_ADDRESS = 320  # 64 + "@" + 255 (RFC 5321 §4.5.3.1)
_FOLD = "\r\n "
_ATEXT = r"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~]+"
_ATEXT_UTF8 = _ATEXT.replace("]", r"\u0080-\U0010ffff]")
_ATOMS = re.compile(f"{_ATEXT}(?: {_ATEXT})*")
_ORDINARY = re.compile(rf"{_ATEXT}(?:\.{_ATEXT})*@[A-Za-z0-9.\-]+")
_DOT_ATOM = re.compile(rf"{_ATEXT_UTF8}(?:\.{_ATEXT_UTF8})*")
_DOMAIN = re.compile(r"[A-Za-z0-9.\-]+|\[[A-Za-z0-9.:\-]+\]")
_NO_DOMAIN = re.compile(r"[^A-Za-z0-9.\-:\[\]]")
_PLAIN_NAME = 60
_WORD = 75  # an encoded-word (RFC 2047 §2)
_LINE = 76
# What an encoded-word may show as it is, in a phrase too (RFC 2047 §5 (3)).
_SHOWN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/")


@lru_cache(maxsize=4096)
def _q(char: str) -> str:
    if char == " ":
        return "_"
    return char if char in _SHOWN else "".join(f"={byte:02X}" for byte in char.encode())


def encoded_words(text: str, column: int) -> str:
    """RFC 2047 words, a character never split, folded; `column` is where the first one starts."""
    words, word, room = [], "", _LINE - column - 12
    for char in text:
        code = _q(char)
        if len(word) + len(code) > room:
            words.append(word)
            word, room = "", _WORD - 12
        word += code
    return _FOLD.join(f"=?utf-8?q?{one}?=" for one in (*words, word))


def unstructured(text: str, column: int) -> str:
    """A one-line text such as a subject, folded at its spaces; `column` is where it starts."""
    if not text.isascii() or "=?" in text:
        return encoded_words(text, column)
    lines, line = [], ""
    for word in text.split(" "):
        if line and column + len(line) + 1 + len(word) > 78:
            lines.append(line)
            line, column = word, 1
        else:
            line = f"{line} {word}" if line else word
    lines.append(line)
    # a word longer than a line has no place to fold
    return _FOLD.join(lines) if max(map(len, lines)) < 200 else encoded_words(text, column)


def phrase(name: str, column: int) -> str:
    """A display name (RFC 5322 §3.2.5): atoms, a quoted string, or encoded words."""
    if len(name) <= _PLAIN_NAME and name.isascii() and "=?" not in name:
        if _ATOMS.fullmatch(name):
            return name
        escaped = name.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return encoded_words(name, column)


def _ascii_domain(domain: str) -> str:
    if _DOMAIN.fullmatch(domain):
        return domain
    try:
        domain = domain.encode("idna").decode("ascii")
    except UnicodeError:
        domain = domain.encode("ascii", "ignore").decode("ascii")
    return _NO_DOMAIN.sub("", domain)


def address(email: str) -> str:
    """The addr-spec (RFC 5322 §3.4.1): the domain as A-labels, the local part quoted where it must be.

    A local part outside ASCII stays as it is (RFC 6532); see `needs_smtputf8`. Raises `Unaddressable`.
    """
    if len(email) > LONGEST_ADDRESS:
        raise Unaddressable(f"recipient.email: {len(email)} characters; an address has {LONGEST_ADDRESS} at most")
    if _ORDINARY.fullmatch(email):
        return email
    local, _, domain = email.rpartition("@")
    if not _DOT_ATOM.fullmatch(local):
        escaped = local.replace("\\", "\\\\").replace('"', '\\"')
        local = f'"{escaped}"'
    return f"{local}@{_ascii_domain(domain)}"


def mailbox(name: str, email: str, column: int) -> str:
    """`Name <address>`, or the address alone; `column` is where it starts."""
    spec = address(email)
    if not name:
        return spec
    shown = phrase(name, column)
    last = len(shown) - (shown.rfind("\n") + 1) + (0 if "\n" in shown else column)
    return f"{shown} <{spec}>" if last + len(spec) + 3 <= 78 else f"{shown}{_FOLD}<{spec}>"


def needs_smtputf8(email: str) -> bool:
    """Whether the address can only travel where the next hop offers SMTPUTF8 (RFC 6531): its local part is
    not ASCII. A domain outside ASCII has its A-labels and needs nothing."""
    return not email.rpartition("@")[0].isascii()
