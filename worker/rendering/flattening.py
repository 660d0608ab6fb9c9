"""Untidy HTML as a well-formed text of bounded depth: what libxml2 reads of it, written at once, without a tree.

By HTML's rules each tag looks through all open elements, and each `<b>` through the attributes of every open one: a
megabyte of tags that nobody closes, or of their attributes, kept nh3 busy for many minutes. libxml2's own tree looks
for the end of a tag's attributes with each of them: a quarter of a megabyte took it 8 s. Its events take no such time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from lxml import etree

from worker.domain.errors import InvalidInput
from worker.rendering.allowed import ATTRIBUTES, DROPPED
from worker.rendering.tidy import MOST_DEEP
from worker.rendering.writing import RAW, VOID, escape_attribute, escape_text

_MOST_OPEN = 250
"""Elements open at once, also those of which only the text will stay: an end tag looks through all of them."""
_SLICE = 4096
"""Characters read at once. libxml2 reads them to their end, and opens what they open, after the deepest was refused."""
# libxml2 takes it for an element with all that follows in it.
_WBR = re.compile(r"<wbr\s*/?>", re.IGNORECASE)
# libxml2 would close all that is open; browsers read on.
_ENDS = re.compile(r"</(?=(?:body|html)\b)", re.IGNORECASE)
_AROUND = frozenset({"html", "body"})
_FRAMES = frozenset({"iframe", "video", "audio"})
# For any comment. It stands between `<pre>` and a line end, of which the first behind the tag is not read.
_COMMENT = "<!---->"


def flatten(html: str) -> str:
    """The same as elements that are all closed and carry what may stay, and no more; embeds have become links.

    Raises `InvalidInput` where elements are nested deeper than any mail needs.
    """
    parser = etree.HTMLParser(target=_Writer())  # type: ignore[arg-type]  # the stub's events may be bytes, too
    parser.feed("<html><body>")
    # an end tag that nothing began is passed over, and divides what would be something else if joined
    html = _ENDS.sub("</x-", _WBR.sub("</x-wbr>", html))
    for at in range(0, len(html), _SLICE):
        parser.feed(html[at : at + _SLICE])
    return str(parser.close())


def too_deep() -> InvalidInput:
    return InvalidInput.of("data.post.html", f"has elements nested over {MOST_DEEP} deep; close each, or nest less")


class _Writer:
    """Takes libxml2's events. In place of a dropped element, or a frame, stands a comment, or a link."""

    def __init__(self) -> None:
        self._out: list[str] = []
        self._open: list[str] = []
        # how many elements were open with the outermost that is not written; 0 while all are
        self._hidden = 0
        self._frame: _Embed | None = None

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        self._open.append(tag)
        if len(self._open) > _MOST_OPEN:
            raise too_deep()
        if self._hidden:
            if self._frame and tag == "source":
                self._frame.source = self._frame.source or attributes.get("src", "")
        elif tag in DROPPED:
            # drawings and templates have rules of their own, by which two parsers may read two things
            self._hidden = len(self._open)
        elif tag in _FRAMES:
            self._hidden, self._frame = len(self._open), _Embed(tag, attributes)
        elif tag == "embed":
            # libxml2 takes it, too, for an element with all that follows in it
            self._out.append(_Embed(tag, attributes).link())
        elif tag not in _AROUND:
            self._out.append(_start_tag(tag, attributes))

    def end(self, tag: str) -> None:
        if self._hidden == len(self._open):
            self._out.append(self._frame.link() if self._frame else _COMMENT)
            self._hidden, self._frame = 0, None
        elif not self._hidden and tag not in VOID and tag not in _AROUND:
            self._out.append(f"</{tag}>")
        self._open.pop()

    def data(self, data: str) -> None:
        if not self._hidden:
            # no end tag ends the body: it stays open to the last event
            self._out.append(data if self._open[-1] in RAW else escape_text(data))

    def comment(self, text: str) -> None:
        if not self._hidden:
            self._out.append(_COMMENT)

    def close(self) -> str:
        return "".join(self._out)


def _start_tag(tag: str, attributes: Mapping[str, str]) -> str:
    of_tag = ATTRIBUTES.get(tag, set())
    kept = ((name, value) for name, value in attributes.items() if name in ATTRIBUTES["*"] or name in of_tag)
    return "".join([f"<{tag}", *(f' {name}="{escape_attribute(value)}"' for name, value in kept), ">"])


class _Embed:
    """A mail plays nothing: a frame, a film or a sound becomes a link to it."""

    def __init__(self, tag: str, attributes: Mapping[str, str]) -> None:
        self._tag = tag
        self._title = attributes.get("title", "")
        self.source = attributes.get("src", "")

    def link(self) -> str:
        if not self.source:
            return "<p></p>"
        text = self._title or self._watch()
        return f'<p><a href="{escape_attribute(self.source)}">{escape_text(text)}</a></p>'

    def _watch(self) -> str:
        try:
            host = (urlsplit(self.source).hostname or "").removeprefix("www.")
        except ValueError:
            host = ""
        verb = "Listen" if self._tag == "audio" else "Watch"
        return f"{verb} on {host}" if host else verb
