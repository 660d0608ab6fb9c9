"""premailer, made safe: each case once went wrong, and its result is held against a second inliner."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import css_inline
import pytest
from lxml import etree

from tests.unit.rendering.making import PUBLICATION, READER, TEMPLATES, shared_for
from worker.domain.delivery import Kind
from worker.rendering import MailCompiler, inlining
from worker.rendering.inlining import inline_css


def page(css: str, body: str, style: str = "<style>") -> str:
    return f"<!DOCTYPE html>\n<html><head>{style}{css}</style></head><body>{body}</body></html>"


def test_rules_become_attributes_and_classes_stay() -> None:
    assert '<p class="a" style="color:red">' in inline_css(page(".a { color: red }", '<p class="a">x</p>'))


def test_an_attribute_of_the_template_wins_over_a_rule() -> None:
    assert 'style="color:blue"' in inline_css(page("p { color: red }", '<p style="color:blue">x</p>'))


@pytest.mark.parametrize("doctype", ["<!doctype html>", "<!DOCTYPE html>", "<!DocType HTML>", "\n<!doctype  html >"])
def test_the_doctype_is_kept(doctype: str) -> None:
    assert inline_css(f"{doctype}<html><head></head><body>x</body></html>").startswith("<!DOCTYPE html>\n<html>")


def test_no_doctype_is_made_up() -> None:
    assert inline_css("<html><head></head><body>x</body></html>").startswith("<html>")


def test_ignored_style_stays_to_the_letter() -> None:
    css = (
        "@media (prefers-color-scheme: dark) { a > b { color: #fff !important } }\n"
        "@font-face { font-family: X; src: url(https://x.example/x.woff2) }\n@supports (a: b) { p { c: d } }\n"
        "@keyframes k { from { top: 0 } }"
    )
    html = inline_css(page(css, "<p>x</p>", '<style data-premailer="ignore">'))
    assert f"<style>{css}</style>" in html


def test_anchors_and_links_are_untouched() -> None:
    body = '<a href="#two">a</a><a href="mailto:x@y">b</a><a href="/rel?a=1&amp;b=é">c</a>'
    assert body in inline_css(page("", body))


@pytest.mark.parametrize("nothing", ["", "   ", "plain words"])
def test_an_input_without_elements_comes_back(nothing: str) -> None:
    assert inline_css(nothing) == nothing


def test_important_survives() -> None:
    assert "color:red !important" in inline_css(page("p { color: red !important }", "<p>x</p>"))


def test_width_and_height_attributes_stay_what_outlook_needs() -> None:
    html = inline_css(page("img { width: 100%; height: auto }", '<img width="536" src="a.png">'))
    assert '<img width="536" src="a.png" style="width:100%; height:auto">' in html


def test_broken_css_is_no_error_and_no_noise(capsys: pytest.CaptureFixture[str]) -> None:
    assert "<p" in inline_css(page("p { color: ; } } @nonsense {", "<p>x</p>"))
    assert capsys.readouterr() == ("", "")


@pytest.fixture
def visited() -> Iterator[tuple[str, list[str]]]:
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"p { color: red }")

        def log_message(self, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", paths
        server.shutdown()
        thread.join()


def test_nothing_is_fetched(visited: tuple[str, list[str]]) -> None:
    url, paths = visited
    css = f'@import "{url}/a.css"; @import url({url}/b.css); p {{ background: url({url}/c.png); color: red }}'
    html = inline_css(
        f'<html><head><link rel="stylesheet" href="{url}/d.css"><style>{css}</style></head><body><p>x</p></body></html>'
    )
    assert "color:red" in html
    assert paths == []


# -- against a second inliner


def _styles(html: str) -> list[tuple[str, dict[str, str]]]:
    """Each element of the body with its declarations, spelled alike."""
    root = etree.fromstring(html, etree.HTMLParser())
    found = []
    for element in root.iter():
        # an HTML5 parser adds the <tbody> that a table leaves out
        if isinstance(element.tag, str) and element.tag != "tbody" and element.xpath("ancestor-or-self::body"):
            pairs = (one.split(":", 1) for one in (element.get("style") or "").split(";") if ":" in one)
            found.append((element.tag, {key.strip(): _value(value) for key, value in pairs}))
    return found


def _value(value: str) -> str:
    plain = value.strip().lower().replace(", ", ",").replace("'", '"').replace(" !important", "!important")
    return re.sub(r"\b0(pt|px)\b", "0", plain)


SAMPLES = {
    "specificity": page(
        "p { color: red; margin: 0 } .a { color: blue } #b { color: green } td p { color: black; margin: 1px }",
        '<p>1</p><p class="a">2</p><p class="a" id="b">3</p><table><tr><td><p class="a">4</p></td></tr></table>',
    ),
    "order": page("p { color: red } p { color: blue } .x, p { padding: 0 }", '<p class="x">1</p>'),
    "important": page("p { color: red !important } .a { color: blue }", '<p class="a">1</p>'),
    "children": page("ul > li { margin: 0 } li a { color: red }", '<ul><li><a href="#">1</a></li></ul>'),
    "shorthand": page("p { font: 700 16px/20px Georgia, serif; border: 1px solid #e4e2dd }", "<p>1</p>"),
    "own style": page("p { color: red; margin: 0 }", '<p style="margin:5px">1</p>'),
}


@pytest.mark.parametrize("html", SAMPLES.values(), ids=SAMPLES.keys())
def test_the_second_inliner_agrees(html: str) -> None:
    assert _styles(inline_css(html)) == _styles(css_inline.inline(html))


@pytest.mark.parametrize("kind", list(Kind))
def test_the_second_inliner_agrees_on_every_shipped_mail(kind: Kind) -> None:
    source = MailCompiler(TEMPLATES).source(PUBLICATION, kind, shared_for(kind))
    rendered = source.pages(READER).html
    for_second = rendered.replace('<style data-premailer="ignore">', '<style data-css-inline="ignore">')
    assert _styles(inline_css(rendered)) == _styles(css_inline.inline(for_second, load_remote_stylesheets=False))


@pytest.mark.parametrize("css", [
    "p { color: red } p:hover { color: blue }", "p { color: red !important }",
    "p { color: red } @media print { p { color: black } }", "p { color: red } @media print { p { top: 0 !important } }",
])  # fmt: skip
def test_a_style_that_is_known_gives_the_same(css: str) -> None:
    inlining._read.clear()
    pages = [page(css, f"<p>{text}</p>") for text in ("one", "two", "one")]
    once = [inline_css(html) for html in pages]
    assert once[0] == once[2]
    assert once[1] == once[0].replace("one", "two")
    assert [inline_css(html) for html in pages] == once
    # premailer writes on what it puts back of `@media`
    assert len(inlining._read) == (0 if "@media" in css else 1)


def test_a_style_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    parse = inlining._Inliner._parse_css_string

    def watched(self: inlining._Inliner, css_body: str, validate: bool = True) -> object:
        read.append(css_body)
        return parse(self, css_body, validate)

    monkeypatch.setattr(inlining._Inliner, "_parse_css_string", watched)
    inlining._read.clear()
    for _ in range(3):
        inline_css(page("p { color: red }", "<p>x</p>"))
    assert read == ["p { color: red }"]
    # a rule that comes in another place has another weight
    both = inline_css(page("p { color: blue }</style><style>p { color: red }", "<p>x</p>"))
    assert '<p style="color:red">' in both
    assert len(read) == 3


def test_not_all_styles_are_kept() -> None:
    inlining._read.clear()
    for number in range(inlining._KEPT + 10):
        inline_css(page("p { width: 0px }", "<p>x</p>"))
        inline_css(page(f"p {{ width: {number}px }}", "<p>x</p>"))
    assert len(inlining._read) == inlining._KEPT
    # the ones that are in use stay
    assert ("p { width: 0px }", 0) in inlining._read
