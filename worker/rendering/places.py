"""Where the holes stand in the inlined page, and so how their values are escaped.

The escapes are those that the page itself was written with, so that a value filled in afterwards reads byte for
byte as if it had been there all along.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator

from lxml import etree
from markupsafe import escape

from worker.domain.errors import TemplateFault
from worker.rendering.holes import Expression, Place, Trace
from worker.rendering.writing import RAW, escape_attribute, escape_text

Escape = Callable[[str], str]

_URL_ATTRIBUTES = frozenset({
    "href", "src", "action", "background", "poster", "cite", "longdesc", "formaction", "data", "srcset",
})  # fmt: skip
# What no rule of the page's style and no script looks at.
_ATTRIBUTES = frozenset({"alt", "title", "aria-label", "lang", "summary", "abbr", "placeholder", "value", "datetime"})
# A value may follow only where it can no longer choose the scheme or the host.
_BEFORE_VALUE = re.compile(r"https?://[^/?#]+[/?#].*|mailto:.*", re.DOTALL)


def escape_comment(value: str) -> str:
    """A comment goes through the inliner as Jinja wrote it."""
    return str(escape(value))


def sentinels(mark: str) -> re.Pattern[str]:
    """One group: the hole's number."""
    return re.compile(f"{mark}([0-9]{{6}})Z")


class _Finder:
    """Walks the page in the order in which it is written."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._pattern = sentinels(trace.mark)

    def _holes(self, text: str | None) -> Iterator[tuple[int, Expression, Place, int, int]]:
        if text is None or self._trace.mark not in text:
            return
        for match in self._pattern.finditer(text):
            expression, place = self._trace.outputs[int(match[1])]
            yield int(match[1]), expression, place, match.start(), match.end()

    def walk(self, element: etree._Element) -> Iterator[tuple[int, Escape]]:
        if not isinstance(element, etree._Comment | etree._ProcessingInstruction):
            for name, value in element.attrib.items():
                yield from self._attribute(str(name), str(value))
            yield from self._text(element.text, raw=element.tag in RAW)
            for child in element:
                yield from self.walk(child)
        else:
            yield from self._comment(element.text)
        yield from self._text(element.tail, raw=False)

    def _text(self, text: str | None, *, raw: bool) -> Iterator[tuple[int, Escape]]:
        for number, expression, place, _, _ in self._holes(text):
            if raw:
                raise place.fault(f"{expression} stands in <style>, <script> or the like; nothing can be escaped there")
            yield number, escape_text

    def _comment(self, text: str | None) -> Iterator[tuple[int, Escape]]:
        for number, expression, place, _, _ in self._holes(text):
            if not expression.is_url:
                raise place.fault(f"{expression} stands in a comment; only the recipient's _url fields may")
            yield number, escape_comment

    def _attribute(self, name: str, value: str) -> Iterator[tuple[int, Escape]]:
        for number, expression, place, start, end in self._holes(value):
            if name in _URL_ATTRIBUTES:
                _check_url(name, value, expression, place, start, end)
            elif name not in _ATTRIBUTES:
                allowed = ", ".join(sorted(_ATTRIBUTES))
                raise place.fault(f"{expression} stands in {name}=; it may stand in {allowed}, href and src")
            yield number, escape_attribute


def _check_url(name: str, value: str, expression: Expression, place: Place, start: int, end: int) -> None:
    whole = start == 0 and end == len(value)
    if expression.is_url and whole:
        return
    if expression.last == "urlencode" and _BEFORE_VALUE.fullmatch(value[:start]):
        return
    raise place.fault(
        f"{expression} stands in the URL {name}=; there it must be one of the _url fields and the whole value, "
        "or carry |urlencode and follow https://host/ or mailto:"
    )


def find_escapes(rendered: str, page: str, trace: Trace) -> list[tuple[int, Escape]]:
    """For each sentinel of the page, in order: the hole's number and its escape. Raises `TemplateFault`, also
    for one that was `rendered` and is not in the inlined page any more."""
    written = _numbers(page, trace)
    lost = next(iter(Counter(_numbers(rendered, trace)) - Counter(written)), None)
    if lost is not None:
        raise _nowhere(trace, lost)
    if not written:
        return []
    tree = etree.fromstring(page, etree.HTMLParser()).getroottree()
    found: list[tuple[int, Escape]] = []
    finder = _Finder(trace)
    for element in [*reversed(list(tree.getroot().itersiblings(preceding=True))), tree.getroot()]:
        found.extend(finder.walk(element))
    if [number for number, _ in found] != written:
        raise _nowhere(trace, next((one for one in written if one not in dict(found)), written[0]))
    return found


def _numbers(page: str, trace: Trace) -> list[int]:
    return [int(number) for number in sentinels(trace.mark).findall(page)]


def _nowhere(trace: Trace, number: int) -> TemplateFault:
    expression, place = trace.outputs[number]
    return place.fault(f"{expression} stands where no text can be, such as in a tag's name or after the page")
