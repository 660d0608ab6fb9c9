"""What stays of a publisher's HTML, as a table, and what the text part makes of it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.rendering.making import PUBLICATION, READER, TEMPLATES
from worker.domain.delivery import Kind
from worker.domain.errors import InvalidInput
from worker.rendering import MailCompiler, post_context
from worker.rendering.cleaning import clean_lines
from worker.rendering.plaintext import to_text
from worker.rendering.sanitising import MOST_PIECES, pieces, sanitise

BASE = "https://blog.example/posts/one/"

TABLE = {
    "script": ("<p>a<script>alert(1)</script>b</p>", "<p>ab</p>"),
    "style": ("<style>p{color:red}</style><p>a</p>", "<p>a</p>"),
    "style attribute": ('<p style="position:fixed">a</p>', "<p>a</p>"),
    "class": ('<p class="button">a</p>', "<p>a</p>"),
    "handler": ('<img src="/a.png" onerror="alert(1)">', '<img src="https://blog.example/a.png">'),
    "javascript link": ('<a href="javascript:alert(1)">a</a>', "<a>a</a>"),
    "javascript link with a tab": ('<a href="java\tscript:alert(1)">a</a>', "<a>a</a>"),
    "javascript link in entities": ('<a href="&#106;avascript:alert(1)">a</a>', "<a>a</a>"),
    "data link": ('<a href="data:text/html,x">a</a>', "<a>a</a>"),
    "vbscript picture": ('<img src="vbscript:x" alt="b">', '<img alt="b">'),
    "form": ('<form action="/x"><input name="q"><button>go</button></form><p>a</p>', "<p>a</p>"),
    "svg": ("<svg><script>alert(1)</script></svg><p>a</p>", "<p>a</p>"),
    "comment": ("<!-- x --><p>a</p>", "<p>a</p>"),
    "conditional comment": ("<!--[if mso]><b>x</b><![endif]--><p>a</p>", "<p>a</p>"),
    "unknown tag": ("<kg-card>a</kg-card>", "a"),
    "meta refresh": ('<meta http-equiv="refresh" content="0;url=https://x">a', "a"),
    "base": ('<base href="https://evil.example/"><a href="x">a</a>', '<a href="https://blog.example/posts/one/x">a</a>'),
    "relative link": ('<a href="../two/">a</a>', '<a href="https://blog.example/posts/two/">a</a>'),
    "rooted picture": ('<img src="/c/a.png" alt="b">', '<img src="https://blog.example/c/a.png" alt="b">'),
    "scheme-relative picture": ('<img src="//cdn.example/a.png">', '<img src="https://cdn.example/a.png">'),
    "absolute link": ('<a href="http://x.example/?a=1&amp;b=2">a</a>', '<a href="http://x.example/?a=1&amp;b=2">a</a>'),
    "mail link": ('<a href="mailto:a@b.example">a</a>', '<a href="mailto:a@b.example">a</a>'),
    "anchor and id": ('<a href="#two">a</a><h2 id="two">b</h2>', '<a href="#two">a</a><h2 id="two">b</h2>'),
    "wide picture": (
        '<img src="https://x.example/a.png" width="1600" height="900">',
        '<img src="https://x.example/a.png" width="536">'),
    "small picture": ('<img src="https://x/a.png" width="64">', '<img src="https://x/a.png" width="64">'),
    "table": (
        '<table><tbody><tr><td colspan="2">a</td></tr></tbody></table>',
        '<table><tbody><tr><td colspan="2">a</td></tr></tbody></table>'),
    "figure": (
        '<figure><img src="https://x.example/a.png"><figcaption>b</figcaption></figure>',
        '<figure><img src="https://x.example/a.png"><figcaption>b</figcaption></figure>'),
    "frame": (
        '<p>a</p><iframe src="https://www.youtube.com/embed/x"></iframe><p>b</p>',
        '<p>a</p><p><a href="https://www.youtube.com/embed/x">Watch on youtube.com</a></p><p>b</p>'),
    "frame with a title": (
        '<iframe src="https://v.example/1" title="Our film"></iframe>',
        '<p><a href="https://v.example/1">Our film</a></p>'),
    "frame of a script": ('<iframe src="javascript:alert(1)"></iframe>', "<p><a>Watch</a></p>"),
    "sound": (
        '<audio controls><source src="/a.mp3"></audio>', '<p><a href="https://blog.example/a.mp3">Listen</a></p>'),
    "NUL and bidi override": ("<p>a\x00b\u202ec</p>", "<p>abc</p>"),
    "unclosed": ("<p>a<b>b", "<p>a<b>b</b></p>"),
    "film with words": (
        "<video controls><source src='/a.webm'><source src='/a.mp4'><p>no <b>film</b></p></video>a",
        '<p><a href="https://blog.example/a.webm">Watch</a></p>a'),
    "frame without a source": ("a<iframe></iframe>b<br", "a<p></p>b"),
    "frame of no address": ("<iframe src='https://[x/'></iframe>", "<p><a>Watch</a></p>"),
    "embed that holds nothing": (
        "<p>a</p><embed src=https://v.example/1><p>b</p><i>",
        '<p>a</p><p><a href="https://v.example/1">Watch on v.example</a></p><p>b</p><i></i>'),
    "place for a line's end": ("<p>a<wbr>b<p>c", "<p>ab</p><p>c</p>"),
    "place for a line's end with a class": ('<p>a<wbr class="x>y">b</p><p>c', "<p>ab</p><p>c</p>"),
    "many places for a line's end": ("<p>" + 300 * "a<wbr>" + "<p>c", "<p>" + 300 * "a" + "</p><p>c</p>"),
    "reference with a place for a line's end in it": ("&#<wbr>1;<p>", "&amp;#1;<p></p>"),
    "nothing at the beginning of a drawing": ("<pre><script></script>\nx<b>", "<pre>\n\nx<b></b></pre>"),
    "picture in a picture": (
        "<picture><source srcset=/a.webp><source srcset=/a.avif><img src=/a.png></picture><p>b</p>",
        '<img src="https://blog.example/a.png"><p>b</p>'),
    "drawing in a form": ("<form><svg><p>a</svg>b</form>c<script>d</script>e", "ce"),
    "whole document": (
        "<!DOCTYPE html>\n<html lang=en><head><meta charset=utf-16><title>t</title><style>p{}</style></head>\n"
        "<body class=x><p>a é</p></body></html>\n",
        "\n\n<p>a é</p>\n"),
    "document without anything": ("<html>", ""),
    "end of a document": ("a</body x>b</html >c<p>d", "abc<p>d</p>"),
    "end of a document in a number": ("&amp;&#</html>1;", "&amp;&amp;#1;"),
    "end of a document in a form": ("<form></body>x</form>y<b>", "y<b></b>"),
    "end of a document in a list": ("<ul><li>a</html><li>b</ul>c", "<ul><li>a</li><li>b</li></ul>c"),
    "second document": ("a</body></html><html><head><section>b</section></head>", "ab"),
    "text of old": ("<p>a<xmp><b>b</b>", "<p>a</p>&lt;b&gt;b&lt;/b&gt;"),
    "comment in a text": ("<p>a<!-- --!> b -->c<p>", "<p>a b --&gt;c</p><p></p>"),
    "attribute twice": ("<p id=a id=b>c", '<p id="a">c</p>'),
    "attribute without a value": ("<ol reversed><li>a", '<ol reversed=""><li>a</li></ol>'),
    "tag that does not end": ("<p>a<b title='c", "<p>a</p>"),
}  # fmt: skip


@pytest.mark.parametrize(("html", "expected"), TABLE.values(), ids=TABLE.keys())
def test_what_stays(html: str, expected: str) -> None:
    assert sanitise(html, BASE) == expected


@settings(max_examples=100, deadline=None)
@given(st.text(st.sampled_from(list("<>/=\"' \n#&;:abisrcpt\x00é")) | st.characters(), max_size=120))
def test_anything_at_all_comes_back_as_html_and_as_text(html: str) -> None:
    clean = sanitise(html, BASE)
    assert sanitise(clean, BASE) == clean
    assert "\0" not in to_text(clean)


PIECES = [
    "<p>", "<div>", "<b>", "<a>", "<ul>", "<ol>", "<li>", "<table>", "<tr>", "<td>", "<tbody>", "<pre>", "<h2>",
    "<br>", "<wbr>", "<video>", "<svg>", "<template>", "<form>", "<title>", "<xmp>", "<source src=y>",
    "<iframe src=//x.example>", "<a href=/x id=a>", "<img src='/a.png' alt=\"'\">", "<b title='", "</p>", "</div>",
    "</b>", "</a>", "</ul>", "</li>", "</table>", "</td>", "</pre>", "</h2>", "</video>", "</svg>", "</template>",
    "</form>", "</body>", "</html>", "<!--", "-->", "--!>", "&#", "1;", "&lt", "a", " ", "\n", "\x00", "'", '"',
    "<", ">", "</", "<?x?>", "<![CDATA[", "]]>", "<script>", "</script>",
    "<a href=javascript:x>", "<img src=x onerror=y>",
]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=16).map("".join))
def test_a_heap_of_tags_comes_back_as_clean_html(html: str) -> None:
    clean = sanitise(html, BASE)
    assert sanitise(clean, BASE) == clean
    assert clean_lines(clean) == clean
    assert not re.search("<(?:script|svg|template|form|iframe|video|source|title|xmp|wbr)", clean)
    # within a value a quotation mark is `&quot;`
    assert not re.search('onerror="|"javascript', clean)


@pytest.mark.parametrize("tag", ["div", "blockquote", "b", "ul><li"])
@pytest.mark.parametrize("levels", [101, 10_000])
def test_what_is_nested_without_end_is_refused_by_name(tag: str, levels: int) -> None:
    with pytest.raises(InvalidInput, match=r"data\.post\.html: has elements nested over 100 deep"):
        sanitise(f"<{tag}>" * levels + "deep", BASE)


@pytest.mark.parametrize("piece", ["<br>", "<hr>&amp;", "&", "a\n", "<!---->x", "a < b"])
def test_what_holds_more_than_any_mail_is_refused_by_name(piece: str) -> None:
    html = piece * (MOST_PIECES // pieces(piece))
    assert sanitise(html, BASE)
    with pytest.raises(InvalidInput, match=r"data\.post\.html: has over 50,000 tags, references and lines"):
        sanitise(f"{html}<p>", BASE)


@pytest.mark.parametrize("tag", ["div", "blockquote", "b", "a href='/x'"])
def test_a_hundred_levels_go_out_whole(tag: str) -> None:
    shared = post_context(PUBLICATION, {"title": "x", "html": f"<{tag}>" * 95 + "deep" + "<p>after</p>"})
    content = MailCompiler(TEMPLATES).compile(PUBLICATION, Kind.NEW_POST, shared).content(READER)
    for part in (content.html, content.text):
        assert "deep" in part
        assert "after" in part
        assert READER.unsubscribe_url in part


TEXTS = {
    "paragraphs": ("<p>one\n two</p><p>three</p>", "one two\n\nthree"),
    "words without a block": ("one <b>two</b> three", "one two three"),
    "line break": ("<p>one<br>two</p>", "one\ntwo"),
    "link": ('<p>see <a href="https://x.example/">here</a>.</p>', "see here (https://x.example/)."),
    "link that shows itself": ('<a href="https://x.example/">https://x.example/</a>', "https://x.example/"),
    "mail link": ('<a href="mailto:a@b.example">a@b.example</a>', "a@b.example"),
    "anchor": ('<a href="#x">up</a>', "up"),
    "picture": ('<p><img src="https://x.example/a.png" alt="a cat"></p>', "[a cat]"),
    "picture without words": ('<p><img src="https://x.example/a.png"></p>', ""),
    "linked figure": (
        '<a href="https://x.example/"><figure><img src="a" alt="cat"><figcaption>why</figcaption></figure></a>',
        "[cat]\nwhy (https://x.example/)"),
    "heading": ("<h2>Trade</h2><p>a</p>", "Trade\n-----\n\na"),
    "list": ("<ul><li>one</li><li><p>two</p></li></ul>", "- one\n- two"),
    "numbered list": ('<ol start="9"><li>nine</li><li>ten</li></ol>', "9. nine\n10. ten"),
    "nested list": ("<ul><li>one<ul><li>inner</li></ul></li></ul>", "- one\n  - inner"),
    "quote": ("<blockquote><p>one</p><p>two</p></blockquote>", "> one\n>\n> two"),
    "code": ("<pre><code>if x:\n    y</code></pre>", "    if x:\n        y"),
    "rule": ("<p>a</p><hr><p>b</p>", "a\n\n* * *\n\nb"),
    "table": ("<table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table>", "a | b\n1 | 2"),
    "entities": ("<p>a &lt; b &amp; c&nbsp;d</p>", "a < b & c\xa0d"),
    "nothing": ("", ""),
}  # fmt: skip


@pytest.mark.parametrize(("html", "expected"), TEXTS.values(), ids=TEXTS.keys())
def test_the_text_says_the_same(html: str, expected: str) -> None:
    assert to_text(html) == expected


@pytest.mark.parametrize(
    "html",
    [f"<pre>{6 * chr(10)}x</pre>", '<pre title="a>b">\n\nx</pre>', "<li><table><li>",
     "&#1", "<&#1", "&#13;", "<b>&#x202E;", "&#0000001;x", "a&#146;b<p>", "<a title='&#x1b;'>",
     "&#&#1;1;", "&#0;", "&#xd800;",
     "<tbody><details><pre><dt><tr><summary>x<colgroup><col>x<pre><dt></details><strong>"],
)  # fmt: skip
def test_what_is_written_is_read_as_the_same(html: str) -> None:
    """By the reader's mail program, too: what was moved once is not moved again."""
    clean = sanitise(html, "https://blog.example/")
    assert sanitise(clean, "https://blog.example/") == clean


@pytest.mark.parametrize(
    ("html", "clean"),
    [
        ("a&#146;b&#x85;", "a’b…"), ("&#65279;x", "\u200bx"), ("a&#13;&#10;b", "a\n\nb"),
        ("&#&#1;1;", "&amp;#\u200b1;"), ("&#x1F600;&#99999999;", "😀\ufffd"), ("<&#1", "&lt;\u200b"),
    ],
)  # fmt: skip
def test_a_reference_is_as_clean_as_what_it_stands_for(html: str, clean: str) -> None:
    assert sanitise(html, BASE) == clean


@pytest.mark.parametrize("ends", range(8))
def test_a_drawing_keeps_its_empty_lines(ends: int) -> None:
    """A reader leaves out the first line end behind `<pre>` (HTML §13.2.6.4.7), and no more than that one."""
    kept = "\n" * (ends - 1)
    assert sanitise(f"<pre>{chr(10) * ends}art</pre>", BASE) == f"<pre>{chr(10) if kept else ''}{kept}art</pre>"


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<table><tr><td>A<table><tr><td>B</td></tr></table></td></tr></table>", "A B"),
        ("<table><tr><td><pre>1\n2</pre></td><td><pre>x\n y</pre></td></tr></table>", "    1\n    2\n    x\n     y"),
        ("<ul><li>a</li><ul><li>b</li></ul><li>c</li></ul>", "- a\n  - b\n- c"),
        ("<ol><p>before</p>between<li>z</li></ol>", "before\nbetween\n1. z"),
        ("<ol start='7'><li>a<li value='3'>b<li>c</ol>", "7. a\n3. b\n4. c"),
        ("<ol reversed><li>a<li>b</ol>", "2. a\n1. b"),
        ("<ol start='-1'><li>a<li>b</ol>", "-1. a\n0. b"),
        (f"<ol start='{'9' * 5000}'><li>a</ol>", "1. a"),
        ("<ol start=' +7th'><li>a</ol>", "7. a"),
        ("<ul>one <b>bold</b> line<li>a</li><i>and</i> <b>more</b></ul>", "one bold line\n- a\n  and more"),
        ("<ul><li>a</li><p>p</p>t</ul>", "- a\n  p\n  t"),
        (9 * "<ul><li>" + "a<br>b", f"{9 * '- '}a\n{8 * '  '}b"),
        (9 * "<blockquote>" + "a<br>b", f"{8 * '> '}a\n{8 * '> '}b"),
        ("<p>a</p><plaintext>b <b>c</b>", "a\n\n    b c"),
    ],
)  # fmt: skip
def test_what_the_text_says(html: str, text: str) -> None:
    assert to_text(sanitise(html, BASE)) == text


def test_tables_in_tables_are_read_once() -> None:
    html = "LEAF"
    for _ in range(20):
        html = f"<table><tr><td>{html}</td></tr></table>"
    assert to_text(sanitise(html, BASE)) == "LEAF"
