"""The mails in Chromium: light, dark, on a small phone, with images off. The screenshots are for the eye."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Page

from tests.browser import Browsers, Look, open_html, overflow, running_browsers
from tests.e2e import pictures
from tests.unit.rendering.making import PUBLICATION, READER, TEMPLATES, compiled
from worker.domain.delivery import Kind
from worker.rendering import MailCompiler, post_context

pytestmark = pytest.mark.browser

MAILS = [Kind.NEW_POST, Kind.CONFIRMATION, Kind.ALREADY_SUBSCRIBED, Kind.WELCOME]
DARK_PAGE = "rgb(15, 17, 18)"
LIGHT_PAGE = "rgb(243, 242, 239)"


@pytest.fixture(scope="module")
def browsers() -> Iterator[Browsers]:
    with running_browsers() as running:
        yield running


def html_of(kind: Kind) -> str:
    return compiled(kind).content(READER).html


def take(page: Page, folder: Path, name: str) -> None:
    path = folder / f"{name}.png"
    page.screenshot(path=path)
    assert path.stat().st_size > 5_000, "the page is empty"


def background(page: Page) -> str:
    return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))


@pytest.mark.parametrize("kind", MAILS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_mail_fits_a_phone_a_tablet_and_a_window(
    browsers: Browsers, tmp_path: Path, kind: Kind, scheme: Literal["light", "dark"]
) -> None:
    for width in (320, 600, 760):
        look = Look(width=width, scheme=scheme)
        with open_html(browsers.usual, html_of(kind), look, pictures.ALL) as page:
            assert overflow(page) == 0, f"wider than its window at {width}"
            assert background(page) == (DARK_PAGE if scheme == "dark" else LIGHT_PAGE)
            take(page, tmp_path, f"{kind}-{scheme}-{width}")


@pytest.mark.parametrize("kind", [Kind.NEW_POST, Kind.CONFIRMATION])
def test_with_images_off_every_picture_has_its_words(browsers: Browsers, tmp_path: Path, kind: Kind) -> None:
    with open_html(browsers.imageless, html_of(kind), Look(), pictures.ALL) as page:
        assert overflow(page) == 0
        assert page.get_by_alt_text(PUBLICATION.name).is_visible()
        if kind is Kind.NEW_POST:
            assert page.get_by_alt_text("The two leaders shake hands in the Oval Office").is_visible()
        take(page, tmp_path, f"{kind}-images-off")


def test_the_column_is_600_wide_in_a_window(browsers: Browsers) -> None:
    with open_html(browsers.usual, html_of(Kind.NEW_POST), Look(width=1200), pictures.ALL) as page:
        box = page.locator(".column").bounding_box()
        assert box is not None
        assert box["width"] == 600


def test_the_preheader_is_not_seen(browsers: Browsers) -> None:
    with open_html(browsers.usual, html_of(Kind.NEW_POST), Look(), pictures.ALL) as page:
        assert not page.locator(".preheader").is_visible()


def test_the_button_is_seen_without_scrolling_on_a_phone(browsers: Browsers) -> None:
    with open_html(browsers.usual, html_of(Kind.CONFIRMATION), Look(width=320, height=568), pictures.ALL) as page:
        box = page.get_by_role("link", name="Confirm subscription").bounding_box()
        assert box is not None
        assert box["y"] + box["height"] < 568
        assert box["height"] >= 44, "a thumb needs 44 pixels"


def test_whatever_a_post_holds_stays_inside_a_phone(browsers: Browsers, tmp_path: Path) -> None:
    """Wide pictures, tables, code and words without a space."""
    long = "unbreakable" * 30
    html = (
        f'<p>{long}</p><p><a href="https://blog.example/{long}">https://blog.example/{long}</a></p>'
        f'<img src="summit.jpg" width="1600" height="900"><pre><code>{long} {long}</code></pre>'
        f"<ul><li>{long}</li></ul><blockquote>{long}</blockquote>"
        "<table><tr><th>one</th><th>two</th></tr><tr><td>a cell of words</td><td>another cell</td></tr></table>"
    )
    shared = post_context(PUBLICATION, {"title": long, "url": "https://blog.example/p/", "html": html, "excerpt": long})
    mail = MailCompiler(TEMPLATES).compile(PUBLICATION, Kind.NEW_POST, shared)
    with open_html(browsers.usual, mail.content(READER).html, Look(width=320), pictures.ALL) as page:
        take(page, tmp_path, "hostile-320")
        assert overflow(page) == 0
