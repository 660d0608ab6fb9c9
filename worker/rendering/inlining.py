"""CSS into `style` attributes: premailer, behind one function and made safe.

premailer's last release is of 2021. What is worked around here, each found by trying it: `@import` is fetched
whatever `allow_network` says; a lower-case doctype is dropped; an empty input raises; `!important` is stripped;
`base_url` rewrites anchors; `width` and `height` of the style overwrite the attributes that Outlook needs.
"""

from __future__ import annotations

import logging
import re
from collections import OrderedDict
from functools import cache
from threading import Lock
from typing import Any

import cssutils
from lxml import etree
from premailer import Premailer

from worker.rendering.writing import write_html

# cssutils keeps its parser's state in one place; two threads at once mix their rules up.
_one_at_a_time = Lock()
_DOCTYPE = re.compile(r"\A\s*<!doctype\s+html\s*>", re.IGNORECASE)


def _fetch_nothing(url: str) -> None:
    """`@import` and `url()` load nothing, from nowhere."""


@cache
def _css_parser(validate: bool) -> cssutils.CSSParser:
    cssutils.log.setLevel(logging.CRITICAL + 1)
    cssutils.log.raiseExceptions = False
    cssutils.ser.prefs.minimizeColorHash = False  # some clients read no #fff
    return cssutils.CSSParser(fetcher=_fetch_nothing, validate=validate)


Rules = tuple[list[Any], list[Any]]
"""Those to be inlined, and those that cannot be."""

# A publication's styles are the same for each of its posts, and reading them takes longer than all the rest.
_KEPT = 32
_read: OrderedDict[tuple[str, int], Rules] = OrderedDict()


class _Inliner(Premailer):  # type: ignore[misc]
    def _parse_style_rules(self, css_body: str | None, ruleset_index: int) -> Rules:
        key = css_body or "", ruleset_index
        found = _read.get(key)
        if found is None:
            found = super()._parse_style_rules(css_body, ruleset_index)
            # premailer writes on the rules of `@media` when it puts them back
            if all(isinstance(one, tuple) for one in found[1]):
                _read[key] = found
                while len(_read) > _KEPT:
                    _read.popitem(last=False)
        else:
            _read.move_to_end(key)
        rules, left_over = found
        return list(rules), list(left_over)

    def _parse_css_string(self, css_body: str, validate: bool = True) -> cssutils.css.CSSStyleSheet:
        return _css_parser(validate).parseString(css_body, validate=validate)


def inline_css(html: str) -> str:
    """The page with its rules in `style` attributes.

    Rules in `<style data-premailer="ignore">` stay as they are (`@media`, `@font-face`, dark mode). Links and
    anchors are not touched. Nothing is fetched. An input without an element comes back as it is.
    """
    if "<" not in html:
        return html
    _css_parser(validate=False)
    parser = etree.HTMLParser(default_doctype=False)  # type: ignore[call-arg]
    page = etree.fromstring(_DOCTYPE.sub("<!DOCTYPE html>", html.strip()), parser)
    with _one_at_a_time:
        inlined = _Inliner(
            page,
            base_url=None,
            disable_link_rewrites=True,
            strip_important=False,
            allow_network=False,
            allow_loading_external_files=False,
            disable_validation=True,
            cache_css_parsing=False,
            disable_basic_attributes=["width", "height"],
        ).transform()
    return write_html(inlined)
