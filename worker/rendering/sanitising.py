"""A publisher's HTML, made fit for a mail: nh3 (html5ever) has the last word on what stays."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urljoin, urlsplit

import lxml.html
import nh3
from lxml import etree

from worker.domain.errors import InvalidInput
from worker.rendering.cleaning import clean_lines, clean_references
from worker.rendering.tidy import MOST_DEEP, is_tidy
from worker.rendering.writing import write_inside

CONTENT_WIDTH = 536
"""Pixels an image may take: 600 without the page's padding. Outlook knows no max-width."""

_TAGS = frozenset({
    "a", "abbr", "b", "blockquote", "br", "caption", "cite", "code", "col", "colgroup", "dd", "del",
    "dfn", "div", "dl", "dt", "em", "figcaption", "figure", "h1", "h2", "h3", "h4", "h5", "h6",
    "hr", "i", "img", "ins", "kbd", "li", "mark", "ol", "p", "pre", "q", "s", "samp", "small",
    "span", "strong", "sub", "sup", "table", "tbody", "td", "tfoot", "th", "thead", "time", "tr",
    "u", "ul", "var",
})  # fmt: skip
# Gone with all that is in them; any other tag goes and its text stays.
_DROPPED = frozenset({
    "script", "style", "form", "button", "select", "textarea", "svg", "math", "noscript",
    "template", "object", "applet", "title", "head", "canvas", "dialog",
})  # fmt: skip
_ATTRIBUTES = {
    "*": {"id", "lang", "dir", "title"},
    "a": {"href", "name"},
    "img": {"src", "alt", "width", "align"},
    "ol": {"start", "type", "reversed"},
    "li": {"value"},
    "td": {"colspan", "rowspan", "align", "valign"},
    "th": {"colspan", "rowspan", "align", "valign", "scope"},
    "col": {"span"},
    "colgroup": {"span"},
    "time": {"datetime"},
}
_SCHEMES = {"http", "https", "mailto", "tel"}
# The second finds what the first has written, or else the third what the second has: 234,000 random heaps of tags.
_READINGS = 5
_DROPPED_DEEP = 250
"""Found this deep in what libxml2 has read, more may have been nested deeper still."""
# libxml2 reads nothing behind these; browsers read on.
_ENDS = re.compile(r"</(?:body|html)\s*>", re.IGNORECASE)
# Nothing ends it, not even `</body>`: our own tags behind it would be read aloud.
_PLAINTEXT = re.compile(r"<(/?)plaintext\b", re.IGNORECASE)
_PRE = re.compile(r'(<pre(?: [a-z]+="[^"]*")*>)\n')
_TAG = re.compile(r"<(/?)([a-z0-9]+)")
_VOID = frozenset({"br", "col", "hr", "img"})


def sanitise(html: str, base: str) -> str:
    """The fragment without script, style, form, event handler or foreign scheme; embeds have become links.

    Relative links and images become absolute against `base`; `#anchors` and ids stay as they are. Raises
    `InvalidInput` where elements are nested deeper than any mail needs.
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
        html = _flat(html)
    clean = nh3.clean(
        html,
        tags=set(_TAGS),
        clean_content_tags=set(_DROPPED),
        attributes={tag: set(names) for tag, names in _ATTRIBUTES.items()},
        attribute_filter=_narrow,
        url_schemes=_SCHEMES,
        url_relative=absolute_to(base),
        link_rel=None,
    )
    if _depth(clean) > MOST_DEEP:
        raise _too_deep()
    # who reads it leaves out a line end that follows the tag; nh3 writes what it has read, without another one
    return _PRE.sub(r"\1\n\n", clean)


def _too_deep() -> InvalidInput:
    return InvalidInput.of("data.post.html", f"has elements nested over {MOST_DEEP} deep; give it flatter")


def _flat(html: str) -> str:
    """The same as a well-formed tree of bounded depth whose elements carry what may stay, and no more.

    By HTML's rules each tag looks through all open elements, and each `<b>` through the attributes of every open one:
    a megabyte of tags that nobody closes, or of their attributes, kept nh3 busy for many minutes.
    """
    root = lxml.html.fragment_fromstring(_ENDS.sub("", html), create_parent="div", parser=lxml.html.HTMLParser())
    if _deepest(root) >= _DROPPED_DEEP:
        raise _too_deep()
    _link_embeds(root)
    # drawings and templates have rules of their own, by which two parsers may read two things
    for element in list(root.iter(*_DROPPED)):
        element.drop_tree()
    for element in root.iter(etree.Element):
        allowed = _ATTRIBUTES["*"] | _ATTRIBUTES.get(str(element.tag), set())
        # each value that is asked for, and each attribute that is deleted, is looked for from the first
        kept = {name: element.get(name) or "" for name in element.attrib if name in allowed}
        element.attrib.clear()
        element.attrib.update(kept)
    return write_inside(root)


def _deepest(root: lxml.html.HtmlElement) -> int:
    deepest = depth = 0
    for event, _ in etree.iterwalk(root, events=("start", "end")):
        depth += 1 if event == "start" else -1
        deepest = max(deepest, depth)
    return deepest


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
        if match[2] not in _VOID:
            depth += -1 if match[1] else 1
            deepest = max(deepest, depth)
    return deepest


def _narrow(tag: str, attribute: str, value: str) -> str | None:
    if tag != "img" or attribute != "width":
        return value
    width = value.removesuffix("px")
    return str(min(int(width), CONTENT_WIDTH)) if width.isascii() and width.isdigit() and len(width) < 6 else None


def _link_embeds(root: lxml.html.HtmlElement) -> None:
    """A mail plays nothing: a frame, a film or a sound becomes a link to it."""
    for element in list(root.iter("iframe", "video", "audio", "embed")):
        source = element.get("src") or next((one.get("src") for one in element.iter("source") if one.get("src")), None)
        link = lxml.html.Element("p")
        if source:
            anchor = lxml.html.Element("a", href=source)
            anchor.text = element.get("title") or _watch(element.tag, source)
            link.append(anchor)
        link.tail = element.tail
        parent = element.getparent()
        if parent is not None:
            parent.replace(element, link)


def _watch(tag: str, source: str) -> str:
    try:
        host = (urlsplit(source).hostname or "").removeprefix("www.")
    except ValueError:
        host = ""
    verb = "Listen" if tag == "audio" else "Watch"
    return f"{verb} on {host}" if host else verb
