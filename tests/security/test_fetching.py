"""Nothing that a stranger wrote is fetched, by nobody, on the way from an event to a mail (SSRF)."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from tests.unit.rendering.making import IDENTITY, PUBLICATION, READER, TEMPLATES
from worker.domain.delivery import Kind
from worker.domain.errors import InvalidInput
from worker.domain.events import Event
from worker.intake.effects import effect_of
from worker.rendering import MailCompiler, post_context
from worker.rendering.inlining import inline_css


@pytest.fixture
def nobody() -> Iterator[str]:
    """`127.0.0.1:PORT`, where somebody listens whom nobody may touch."""
    visits: list[object] = []
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(0.05)
        over = threading.Event()

        def listen() -> None:
            while not over.is_set():
                try:
                    visits.append(listener.accept())
                except TimeoutError:
                    continue

        thread = threading.Thread(target=listen)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        over.set()
        thread.join()
    for line, _ in visits:  # type: ignore[misc]
        line.close()  # type: ignore[has-type]
    assert visits == []


HTML = {
    "a picture": '<img src="http://{at}/a.png" srcset="http://{at}/b.png 2x" width="9999">',
    "a style sheet": '<link rel="stylesheet" href="http://{at}/a.css"><style>@import "http://{at}/b.css";</style>',
    "a style's url": '<p style="background:url(http://{at}/a.png)">x</p>'
    "<style>p {{ background: url(http://{at}/c) }}</style>",
    "an import in an attribute": '<p style=\'@import url("http://{at}/a.css")\'>x</p>',
    "a drawing": '<svg><image href="http://{at}/a.png"/><use xlink:href="http://{at}/b.svg#x"/></svg>',
    "a document type": '<!DOCTYPE html SYSTEM "http://{at}/a.dtd"><p>x</p>',
    "an external entity": '<!DOCTYPE x [<!ENTITY e SYSTEM "http://{at}/e"><!ENTITY % p SYSTEM "http://{at}/p"> %p;]>'
    "<p>&e;</p>",
    "an XML style sheet": '<?xml-stylesheet href="http://{at}/a.xsl"?><p>x</p>',
    "an inclusion": '<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="http://{at}/a.xml"/>',
    "a base": '<base href="http://{at}/"><img src="a.png"><link rel="stylesheet" href="a.css">',
    "a frame": '<iframe src="http://{at}/"></iframe><embed src="http://{at}/"><object data="http://{at}/"></object>',
    "a script": '<script src="http://{at}/a.js"></script><p>x</p>',
    "a refresh": '<meta http-equiv="refresh" content="0;url=http://{at}/">',
    "a template": "{{% include 'http://{at}/x' %}}{{{{ ''.__class__ }}}}",
    "a file": '<link rel="stylesheet" href="file:///etc/passwd"><img src="file:///etc/passwd"><p>x</p>',
}  # fmt: skip


@pytest.mark.parametrize("html", HTML.values(), ids=HTML.keys())
def test_a_posts_html_makes_nobody_fetch(nobody: str, html: str) -> None:
    post: dict[str, object] = {
        "id": "1", "title": "x", "url": f"http://{nobody}/post", "html": html.format(at=nobody) + "<p>y</p>",
        "image": f"http://{nobody}/image.svg", "authors": [{"name": "A", "image": f"http://{nobody}/author.png"}],
    }  # fmt: skip
    shared = post_context(PUBLICATION, post, list_slug="posts")
    mail = MailCompiler(TEMPLATES).compile(PUBLICATION, Kind.NEW_POST, shared)
    shown = mail.content(READER).html
    assert mail.personalise(READER, IDENTITY)
    for gone in ("@import", "<svg", "<iframe", "<script", "file:", "root:", "<base", "http-equiv=\"refresh"):
        assert gone not in shown


CSS = [
    '@import "http://{at}/a.css";', "@import url(http://{at}/a.css) screen;", '@IMPORT\\20 "http://{at}/a.css";',
    "p {{ background: url('http://{at}/a.png') }}", '@font-face {{ font-family: x; src: url("http://{at}/a.woff") }}',
    '@namespace url("http://{at}/"); @charset "x";', "p {{ behavior: url(http://{at}/a.htc) }}",
]  # fmt: skip


@pytest.mark.parametrize("css", CSS)
def test_a_templates_css_makes_nobody_fetch(nobody: str, css: str) -> None:
    """Also where an operator's own template says so."""
    style = f"<style>{css.format(at=nobody)} p {{ color: red }}</style>"
    inline_css(f"<html><head>{style}</head><body><p>x</p></body></html>")


SCHEMES = [
    "data:image/svg+xml;base64,AAAA", "file:///etc/passwd", "javascript:alert(1)", "ftp://x/y", "//x/y", "gopher://x",
    "http:x", "http://", "data:text/html,<script>", "blob:x", "jar:http://x!/y", "\\\\host\\share", "about:blank",
]  # fmt: skip


@pytest.mark.parametrize("url", SCHEMES)
@pytest.mark.parametrize("field", ["url", "image"])
def test_an_image_or_a_link_of_another_scheme_is_refused(field: str, url: str) -> None:
    post = {"id": "1", "title": "x", "url": "https://blog.example/", field: url}
    event = Event(id="1", source="urn:x", type="post.published", data={"publication": "daily", "post": post})
    with pytest.raises(InvalidInput, match=rf"data\.post\.{field}: must be an absolute http"):
        effect_of(event)
