"""A publisher's HTML, made fit for a mail: nh3 (html5ever) has the last word on what stays."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urljoin

import nh3

from worker.domain.errors import InvalidInput
from worker.rendering.allowed import ATTRIBUTES, DROPPED, SCHEMES, TAGS
from worker.rendering.cleaning import clean_lines, clean_references
from worker.rendering.flattening import flatten, too_deep
from worker.rendering.tidy import MOST_DEEP, is_tidy
from worker.rendering.writing import VOID

CONTENT_WIDTH = 536
"""Pixels an image may take: 600 without the page's padding. Outlook knows no max-width."""

MOST_PIECES = 50_000
"""What `pieces` counts. A mail of 100 KB holds no such number, and a megabyte of them took most of a minute."""
# The second finds what the first has written, or else the third what the second has: 234,000 random heaps of tags.
_READINGS = 5
# Nothing ends it, not even `</body>`: our own tags behind it would be read aloud.
_PLAINTEXT = re.compile(r"<(/?)plaintext\b", re.IGNORECASE)
_PRE = re.compile(r'(<pre(?: [a-z]+="[^"]*")*>)\n')
_TAG = re.compile(r"<(/?)([a-z0-9]+)")


def sanitise(html: str, base: str) -> str:
    """The fragment without script, style, form, event handler or foreign scheme; embeds have become links.

    Relative links and images become absolute against `base`; `#anchors` and ids stay as they are. Raises
    `InvalidInput` where elements are nested deeper, or are more, than any mail needs.
    """
    html = _PLAINTEXT.sub(r"<\1pre", clean_references(clean_lines(html)))
    for _ in range(_READINGS):
        before, html = html, _read_once(html, base)
        if html == before:
            break
    return html


def _read_once(html: str, base: str) -> str:
    """HTML's rules move what stands in the wrong place, so what was read and written may be read as something else:
    `<li><table><li>` is a list's item in an item, and then one after the other.
    """
    if not is_tidy(html):
        html = flatten(html)
    if pieces(html) > MOST_PIECES:
        raise InvalidInput.of("data.post.html", f"has over {MOST_PIECES:,} tags, references and lines; send less")
    clean = nh3.clean(
        html,
        tags=set(TAGS),
        clean_content_tags=set(DROPPED),
        attributes={tag: set(names) for tag, names in ATTRIBUTES.items()},
        attribute_filter=_narrow,
        url_schemes=SCHEMES,
        url_relative=absolute_to(base),
        link_rel=None,
    )
    if _depth(clean) > MOST_DEEP:
        raise too_deep()
    # who reads it leaves out a line end that follows the tag; nh3 writes what it has read, without another one
    return _PRE.sub(r"\1\n\n", clean)


def pieces(html: str) -> int:
    """Tags, comments, references (`&…;`) and lines.

    nh3's time grows with the square of what stands in a table and in no cell of it, comments before it included, and
    of the references in one text; that of the text part with the lines and how deep they are nested.
    """
    return html.count("<") - html.count("</") + html.count("&") + html.count("\n")


def absolute_to(base: str) -> Callable[[str], str | None]:
    """A function that makes a relative reference absolute; None for one that cannot be."""

    def absolute(url: str) -> str | None:
        if url.startswith("#"):
            return url
        try:
            joined = urljoin(base, url.strip())
        except ValueError:
            return None
        return joined if joined.startswith(("http://", "https://")) else None

    return absolute


def _depth(html: str) -> int:
    """How deep elements are nested in what nh3 wrote: every `<` in it starts a tag, every tag is closed."""
    deepest = depth = 0
    for match in _TAG.finditer(html):
        if match[2] not in VOID:
            depth += -1 if match[1] else 1
            deepest = max(deepest, depth)
    return deepest


def _narrow(tag: str, attribute: str, value: str) -> str | None:
    if tag != "img" or attribute != "width":
        return value
    width = value.removesuffix("px")
    return str(min(int(width), CONTENT_WIDTH)) if width.isascii() and width.isdigit() and len(width) < 6 else None
