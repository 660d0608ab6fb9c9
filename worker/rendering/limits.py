"""How large a mail may be."""

from __future__ import annotations

import re
from typing import Protocol

from worker.domain.errors import TemplateFault
from worker.domain.publication import Publication
from worker.rendering.errors import ContentTooLarge

# Gmail clips a mail near 102 KB of HTML and reads 16 KB of <style> at most.
WARN_BYTES = 90 * 1024
MOST_BYTES = 100 * 1024
MOST_STYLE_BYTES = 16 * 1024
# No client clips a text; it has the post's words, and what marks its lists, quotations and code, line by line.
MOST_TEXT_BYTES = 4 * MOST_BYTES
_STYLE = re.compile(r"<style[^>]*>(.*?)</style>", re.DOTALL | re.IGNORECASE)


class Page(Protocol):
    """What is known about the mail whose size is wrong."""

    @property
    def publication(self) -> Publication: ...
    @property
    def shared(self) -> object: ...
    def file(self, name: str) -> str: ...


def check_text(text: str) -> None:
    """Raises `ContentTooLarge`: what is written before each line may be many times the words."""
    size = len(text.encode())
    if size > MOST_TEXT_BYTES:
        raise ContentTooLarge(
            f"the text of the mail is {_kb(size)}, over the limit of {_kb(MOST_TEXT_BYTES)}; "
            "cut the post, or nest its lists and quotations less"
        )


def check_rendered(page: Page, html: str) -> None:
    """Before inlining, which only adds to what is outside <style>: a megabyte would keep the inliner for 20 s."""
    size = len(_STYLE.sub("", html).encode())
    if size > MOST_BYTES:
        raise _too_large(page, size)


def check_sizes(page: Page, html: str) -> tuple[str, ...]:
    """Warnings; raises `ContentTooLarge` saying what to cut, or `TemplateFault` for the style."""
    style = sum(len(found.encode()) for found in _STYLE.findall(html))
    if style > MOST_STYLE_BYTES:
        message = f"{style:,} bytes of <style> are left after inlining, Gmail reads {MOST_STYLE_BYTES:,}: cut rules"
        raise TemplateFault(page.file("body.html"), None, message)
    size = len(html.encode())
    if size > MOST_BYTES:
        raise _too_large(page, size)
    if size > WARN_BYTES:
        return (f"{_size(size)}; Gmail clips near 102 KB and the limit is {_kb(MOST_BYTES)}",)
    return ()


def _too_large(page: Page, size: int) -> ContentTooLarge:
    near = f"over the limit of {_kb(MOST_BYTES)} near which Gmail clips a mail"
    return ContentTooLarge(f"{_size(size)}, {near}; {_cut(page, size)}")


def _cut(page: Page, size: int) -> str:
    post = page.shared.get("post") if isinstance(page.shared, dict) else None
    body = str(post.get("html", "")) if isinstance(post, dict) else ""
    over = _kb(size - MOST_BYTES + 1023)
    if not body or page.publication.post_body != "full":
        return f"cut {over} from the template {page.file('body.html')}"
    return (
        f"the post's body is {_kb(len(body.encode()))} of it: cut {over} of the post, "
        'or set post_body = "excerpt" for this publication'
    )


def _size(size: int) -> str:
    return f"the HTML of the mail is {_kb(size)}"


def _kb(size: int) -> str:
    return f"{size // 1024} KB"
