"""What may stay of a publisher's HTML: the rest goes, or is dropped with all that is in it."""

from __future__ import annotations

TAGS = frozenset({
    "a", "abbr", "b", "blockquote", "br", "caption", "cite", "code", "col", "colgroup", "dd", "del",
    "dfn", "div", "dl", "dt", "em", "figcaption", "figure", "h1", "h2", "h3", "h4", "h5", "h6",
    "hr", "i", "img", "ins", "kbd", "li", "mark", "ol", "p", "pre", "q", "s", "samp", "small",
    "span", "strong", "sub", "sup", "table", "tbody", "td", "tfoot", "th", "thead", "time", "tr",
    "u", "ul", "var",
})  # fmt: skip
# Gone with all that is in them; any other tag goes and its text stays.
DROPPED = frozenset({
    "script", "style", "form", "button", "select", "textarea", "svg", "math", "noscript",
    "template", "object", "applet", "title", "head", "canvas", "dialog",
})  # fmt: skip
ATTRIBUTES = {
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
SCHEMES = {"http", "https", "mailto", "tel"}
