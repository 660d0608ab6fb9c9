"""The text part, written from the sanitised HTML: paragraphs stay paragraphs, links keep their address."""

from __future__ import annotations

import re

import lxml.html
from lxml import etree

_BLOCKS = frozenset({
    "p", "div", "figure", "figcaption", "blockquote", "ul", "ol", "li", "dl", "dt", "dd", "pre",
    "hr", "table", "caption", "thead", "tbody", "tfoot", "tr", "h1", "h2", "h3", "h4", "h5", "h6",
})  # fmt: skip
_SPACE = re.compile(r"[ \t\n\r\f]+")
# As HTML reads it; nobody counts further, and a number of a thousand digits would stand before each item.
_NUMBER = re.compile(r"[ \t\n\r\f]*([+-]?[0-9]{1,9})(?![0-9])")
# Lists or quotations in each other: what marks a line deeper down would be more than its words.
_MOST_MARKS = 8


def to_text(html: str) -> str:
    """Blocks with an empty line between them; long lines are left to the reader's window."""
    if not html.strip():
        return ""
    root = lxml.html.fragment_fromstring(html, create_parent="div")
    return "\n\n".join(_blocks(root))


def _blocks(element: etree._Element) -> list[str]:
    """The blocks inside an element; runs of inline content between them are blocks too."""
    found: list[str] = []
    line = element.text or ""
    for child in element:
        if isinstance(child.tag, str) and child.tag in _BLOCKS:
            _add(found, _tidy(line))
            found.extend(_block(child))
            line = child.tail or ""
        else:
            line += _inline(child) + (child.tail or "")
    _add(found, _tidy(line))
    return found


def _add(found: list[str], text: str) -> None:
    if text:
        found.append(text)


def _block(element: etree._Element) -> list[str]:
    tag = str(element.tag)
    if tag == "pre":
        return ["\n".join(f"    {line}" for line in _verbatim(element).strip("\n").split("\n"))]
    if tag == "hr":
        return ["* * *"]
    if tag in ("ul", "ol"):
        return _items(element, ordered=tag == "ol")
    if tag == "table":
        return _rows(element)
    inner = _blocks(element)
    if tag == "blockquote" and inner and _is_marked(element, "blockquote"):
        return ["\n".join(f"> {line}".rstrip() for line in "\n\n".join(inner).split("\n"))]
    if tag in ("h1", "h2", "h3") and inner:
        return [f"{inner[0]}\n{('=' if tag == 'h1' else '-') * min(len(inner[0]), 60)}", *inner[1:]]
    return inner


def _items(element: etree._Element, *, ordered: bool) -> list[str]:
    """What stands between the items, or is a list in a list without one, belongs to the item before."""
    lines: list[str] = []
    line, before = element.text or "", ""
    below = "  " if _is_marked(element, "ol", "ul") else ""
    step = -1 if element.get("reversed") is not None else 1
    number = _number(element.get("start"), len(list(element.iterchildren("li"))) if step < 0 else 1)
    for child in element:
        if child.tag == "li" or child.tag in _BLOCKS:
            lines += _indented([_tidy(line)], before, before)
            line = ""
        if child.tag == "li":
            number = _number(child.get("value"), number)
            mark, before = f"{number}. " if ordered else "- ", below
            lines += _indented(_blocks(child) or [""], mark, " " * len(mark) if below else "")
            number += step
        elif child.tag in _BLOCKS:
            lines += _indented(_block(child), before, before)
        else:
            line += _inline(child)
        line += child.tail or ""
    lines += _indented([_tidy(line)], before, before)
    return ["\n".join(lines)] if lines else []


def _is_marked(element: etree._Element, *tags: str) -> bool:
    return sum(1 for _ in element.iterancestors(*tags)) < _MOST_MARKS


def _indented(blocks: list[str], first: str, others: str) -> list[str]:
    """The lines of the blocks; none of what is empty and has no mark."""
    lines = "\n".join(blocks).split("\n")
    found = [f"{others if at else first}{line}".rstrip() for at, line in enumerate(lines)]
    return found if "".join(found) else []


def _number(text: str | None, otherwise: int) -> int:
    found = _NUMBER.match(text or "")
    return int(found[1]) if found else otherwise


def _rows(element: etree._Element) -> list[str]:
    """Its own alone: a table in a cell reads its rows itself, or twenty in each other are read a million times."""
    lines = [line for one in element.iterchildren("caption") for line in _blocks(one)]
    for part in element.iterchildren("tr", "thead", "tbody", "tfoot"):
        for row in [part] if part.tag == "tr" else part.iterchildren("tr"):
            cells = [_blocks(cell) for cell in row.iterchildren("td", "th")]
            if next(row.iter("pre"), None) is not None:
                # lines that must stay lines do not stand side by side
                lines += [block for cell in cells for block in cell]
            else:
                line = " | ".join(" ".join(cell).replace("\n", " ") for cell in cells)
                lines += [line] if line.strip(" |") else []
    return ["\n".join(lines)] if lines else []


def _inline(element: etree._Element) -> str:
    """Line breaks travel as NUL, which no content holds, since `_tidy` folds white space."""
    if isinstance(element, etree._Comment):
        return ""
    if element.tag == "br":
        return "\0"
    if element.tag == "img":
        alt = _SPACE.sub(" ", element.get("alt") or "").strip()
        return f"[{alt}]" if alt else ""
    inner = (element.text or "") + "".join(_inner(child) + (child.tail or "") for child in element)
    return _link(inner, element.get("href") or "") if element.tag == "a" else inner


def _inner(child: etree._Element) -> str:
    # A block inside an inline element (a link around a whole figure): its words, on lines of their own.
    if isinstance(child.tag, str) and child.tag in _BLOCKS:
        return "\0" + "\0".join("\n".join(_block(child)).split("\n")) + "\0"
    return _inline(child)


def _link(inner: str, href: str) -> str:
    label = inner.strip("\0 \t\n\r\f")
    if not label or not href or href.startswith("#"):
        return inner
    shown = href.removeprefix("mailto:")
    before, after = inner.split(label, 1)
    return inner if label == shown else f"{before}{label} ({shown}){after}"


def _verbatim(element: etree._Element) -> str:
    return (element.text or "") + "".join(
        ("\n" if child.tag == "br" else _verbatim(child) if isinstance(child.tag, str) else "") + (child.tail or "")
        for child in element
    )


def _tidy(text: str) -> str:
    lines = (_SPACE.sub(" ", line).strip() for line in text.split("\0"))
    return "\n".join(lines).strip("\n")
