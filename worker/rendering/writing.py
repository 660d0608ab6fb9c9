"""A parsed page as HTML text, in one spelling.

libxml2 chooses the quotes of an attribute by what is in its value, and percent-encodes links by its own mind. A
value filled into a prepared page must read as if it had been there all along, so the spelling must not depend on
it: attributes always in double quotes, and nothing escaped but what must be (HTML Standard §13.3).
"""

from __future__ import annotations

from lxml import etree

# What no text is escaped in, because no parser would take it back.
RAW = frozenset({"style", "script", "iframe", "noembed", "noframes", "xmp", "plaintext"})
VOID = frozenset({
    "area", "base", "basefont", "bgsound", "br", "col", "embed", "frame", "hr", "img", "input", "link", "meta", "param",
    "source", "track", "wbr",
})  # fmt: skip


def escape_text(value: str) -> str:
    return value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def escape_attribute(value: str) -> str:
    return escape_text(value).replace('"', "&quot;")


def write_html(tree: etree._ElementTree) -> str:
    """The whole document, with its doctype if it has one and the comments around its root."""
    root = tree.getroot()
    doctype = tree.docinfo.doctype  # type: ignore[attr-defined]
    out = [f"{doctype}\n"] if doctype else []
    for one in (*reversed(list(root.itersiblings(preceding=True))), root, *root.itersiblings()):
        _write(one, out)
    return "".join(out)


def _write(element: etree._Element, out: list[str]) -> None:
    if isinstance(element, etree._Comment):
        out.append(f"<!--{element.text or ''}-->")
    elif isinstance(element.tag, str):
        _write_element(element, out)
    out.append(escape_text(element.tail or ""))


def _write_element(element: etree._Element, out: list[str]) -> None:
    tag = str(element.tag)
    out.append(f"<{tag}")
    for name, value in element.attrib.items():
        out.append(f' {name!s}="{escape_attribute(str(value))}"')
    out.append(">")
    if tag in VOID:
        return
    text = element.text or ""
    out.append(text if tag in RAW else escape_text(text))
    for child in element:
        _write(child, out)
    out.append(f"</{tag}>")
