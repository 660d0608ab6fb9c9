"""Whether HTML is as plain as what publishing systems write: each element closed where it should be, nothing odd."""

from __future__ import annotations

import re

MOST_DEEP = 100
"""Elements in each other; no real post comes near. libxml2, which reads the whole page, drops what is 256 deep."""

_ATTRIBUTE = r"""\s+[A-Za-z_:][\w:.-]*(?:="[^"<]*"|='[^'<]*')?"""
# A tag with its name and attributes, a comment that ends where everybody thinks, or text.
_PIECE = re.compile(
    rf"<(?P<end>/?)(?P<name>[A-Za-z][A-Za-z0-9]*)(?:{_ATTRIBUTE}){{0,32}}\s*/?>|<!--(?!-?>)(?:(?!--!?>)[^\0])*-->|[^<\0]+",
    re.ASCII,
)
_VOID = frozenset({"br", "col", "hr", "img", "wbr"})
# What is in these is read by other rules, or bounds what an end tag may close.
_ODD = frozenset({
    "applet", "audio", "base", "body", "button", "embed", "form", "frame", "frameset", "head", "html", "iframe",
    "image", "input", "link", "marquee", "math", "meta", "nobr", "noembed", "noframes", "noscript", "object",
    "optgroup", "option", "param", "plaintext", "script", "select", "source", "style", "svg", "template", "textarea",
    "title", "track", "video", "xmp",
})  # fmt: skip


def is_tidy(html: str) -> bool:
    """Whether any HTML parser takes a bounded number of open elements and a time by the text's size for it.

    Looks at each character once; says no where it is not sure.
    """
    at, open_elements = 0, list[str]()
    while at < len(html):
        piece = _PIECE.match(html, at)
        if piece is None:
            return False
        at = piece.end()
        if piece["name"] is not None and not _follow(open_elements, piece["name"].lower(), bool(piece["end"])):
            return False
    return not open_elements


def _follow(open_elements: list[str], name: str, end: bool) -> bool:
    """One tag more; False where it is not what a tidy text has there."""
    if name in _ODD or (end and name in _VOID):
        return False
    if name in _VOID:
        return True
    if end:
        return bool(open_elements) and open_elements.pop() == name
    open_elements.append(name)
    return len(open_elements) <= MOST_DEEP
