"""Chromium for tests that look at what a reader sees. Nothing leaves the machine: every request is answered here."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, Route, sync_playwright

HOW_TO_GET_IT = "needs Chromium on the PATH: apt-get install chromium (Debian, Ubuntu) or brew install --cask chromium"


def find_chromium() -> str | None:
    """The path of a Chromium or Chrome, or None."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    return next((path for path in map(shutil.which, names) if path), None)


@dataclass(frozen=True, slots=True)
class Browsers:
    """Two of them, since images are switched off for a whole browser."""

    usual: Browser
    imageless: Browser


@contextmanager
def running_browsers() -> Iterator[Browsers]:
    """Headless Chromium with images and without; skips the test by name where there is none."""
    path = find_chromium()
    if path is None:
        pytest.skip(HOW_TO_GET_IT)
    arguments = ["--no-sandbox", "--disable-gpu", "--force-color-profile=srgb"]
    with sync_playwright() as playwright:
        usual, imageless = (
            playwright.chromium.launch(executable_path=path, args=[*arguments, *more])
            for more in ([], ["--blink-settings=imagesEnabled=false"])
        )
        try:
            yield Browsers(usual, imageless)
        finally:
            usual.close()
            imageless.close()


@dataclass(frozen=True, slots=True)
class Look:
    """How a page is looked at."""

    width: int = 760
    height: int = 900
    scheme: Literal["light", "dark"] = "light"


@contextmanager
def open_html(browser: Browser, html: str, look: Look, pictures: Mapping[str, str]) -> Iterator[Page]:
    """A page that shows `html`. `pictures` maps the end of an image's URL to SVG; any other request fails."""

    def answer(route: Route) -> None:
        found = next((svg for end, svg in pictures.items() if route.request.url.endswith(end)), None)
        if found is None:
            route.abort()
        else:
            route.fulfill(content_type="image/svg+xml", body=found)

    size = {"width": look.width, "height": look.height}
    context = browser.new_context(viewport=size, color_scheme=look.scheme)  # type: ignore[arg-type]
    try:
        page = context.new_page()
        page.route("**/*", answer)
        page.set_content(html, wait_until="load")
        yield page
    finally:
        context.close()


def overflow(page: Page) -> int:
    """By how many pixels the page is wider than its window."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))
