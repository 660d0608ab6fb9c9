"""A reader with a real browser: signs up, confirms, leaves, comes back. The screenshots are for the eye."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import httpx
import pytest
from playwright.sync_api import Page, Route

from tests.browser import Browsers, overflow, running_browsers
from tests.e2e.pictures import LOGO
from tests.integration.audience.conftest import Desk

# the fixtures of the pages' own tests: a real server over a database of the test's own
from tests.integration.pages.conftest import desk, doorbell, environ, http, link, system  # noqa: F401
from worker.domain.tokens import Purpose

# one database is enough for what is looked at here
pytestmark = [pytest.mark.browser, pytest.mark.parametrize("backend", ["sqlite"])]

Link = Callable[..., str]
Scheme = Literal["light", "dark"]


@pytest.fixture(scope="module")
def browsers() -> Iterator[Browsers]:
    with running_browsers() as running:
        yield running


class Window:
    """A browser window on the pages. Whatever asks for another host gets nothing, but for the logo."""

    def __init__(self, page: Page, folder: Path) -> None:
        self.page = page
        self._folder = folder
        self.complaints: list[str] = []
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.route("**/*", self._answer)

    def _answer(self, route: Route) -> None:
        url = route.request.url
        if url.startswith("http://127.0.0.1:"):
            route.continue_()
        elif url.endswith("/logo.png"):
            route.fulfill(content_type="image/svg+xml", body=LOGO)
        else:
            self.complaints.append(f"asked for {url}")
            route.abort()

    def take(self, name: str) -> None:
        """A screenshot; nothing is wider than the window and nothing was complained about."""
        path = self._folder / f"{name}.png"
        self.page.screenshot(path=path, full_page=True)
        assert path.stat().st_size > 3_000, "the page is empty"
        assert overflow(self.page) == 0
        assert [one for one in self.complaints if "status of" not in one] == []

    def heading(self) -> str:
        return self.page.locator("h1").inner_text()


@pytest.fixture
def window(browsers: Browsers, http: httpx.Client, tmp_path: Path) -> Iterator[Callable[..., Window]]:  # noqa: F811
    """`window(width=320, scheme="dark")`, without JavaScript, which no page needs."""
    contexts = []

    def make(width: int = 760, scheme: Scheme = "light") -> Window:
        context = browsers.usual.new_context(
            viewport={"width": width, "height": 800}, color_scheme=scheme, base_url=str(http.base_url)
        )
        contexts.append(context)
        return Window(context.new_page(), tmp_path)

    yield make
    for context in contexts:
        assert context.cookies() == []
        context.close()


def test_a_reader_signs_up_confirms_leaves_and_comes_back(
    window: Callable[..., Window], desk: Desk, link: Link  # noqa: F811
) -> None:
    here = window()
    page = here.page
    page.goto("/p/daily/subscribe")
    box = page.get_by_label("Leave this empty").bounding_box()
    assert box is not None
    assert box["x"] + box["width"] <= 0, "the trap stands outside the window"
    page.get_by_label("Email address").fill("ana.lopez@")
    page.get_by_role("button", name="Subscribe").click()
    assert page.get_by_text("This is not an email address").is_visible()
    assert page.get_by_label("Email address").input_value() == "ana.lopez@"
    here.take("subscribe-error")
    page.get_by_label("Email address").fill("ana.lopez@example.com")
    page.get_by_label("Name").fill("Ana López")
    page.get_by_label("Name").press("Enter")
    assert page.get_by_text("Success! Now check your email.").is_visible()
    here.take("check-email")

    page.goto(link(Purpose.CONFIRM))
    assert desk.status(email="ana.lopez@example.com") == ("pending", 0)
    here.take("confirm")
    page.get_by_role("button", name="Confirm subscription").click()
    assert here.heading() == "You are subscribed"
    here.take("confirmed")
    assert desk.status(email="ana.lopez@example.com") == ("active", 0)
    page.reload()
    assert here.heading() == "Already confirmed"

    page.goto(link(Purpose.UNSUBSCRIBE))
    here.take("unsubscribe")
    page.get_by_role("button", name="Unsubscribe").click()
    assert here.heading() == "You are unsubscribed"
    here.take("unsubscribed")
    assert desk.status(email="ana.lopez@example.com") == ("unsubscribed", 0)
    page.get_by_role("button", name="Subscribe again").click()
    assert page.get_by_label("New posts").is_checked()
    here.take("manage")
    assert desk.status(email="ana.lopez@example.com") == ("active", 1)
    page.get_by_role("button", name="Unsubscribe from everything").click()
    assert not page.get_by_label("New posts").is_checked()


def test_an_expired_link_leads_to_a_new_one(
    window: Callable[..., Window], desk: Desk, link: Link  # noqa: F811
) -> None:
    desk.sign_up()
    desk.clock.advance(days=4)
    here = window()
    here.page.goto(link(Purpose.CONFIRM))
    assert here.heading() == "This link has expired"
    here.take("expired")
    here.page.get_by_role("button", name="Send me a new link").click()
    assert here.page.get_by_text("Success! Now check your email.").is_visible()
    here.page.goto(link(Purpose.CONFIRM))
    here.page.get_by_role("button", name="Confirm subscription").click()
    assert here.heading() == "You are subscribed"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_fits_a_phone_and_a_window(
    window: Callable[..., Window], http: httpx.Client, link: Link, scheme: Scheme  # noqa: F811
) -> None:
    http.post("/p/weekly/subscribe", data={"email": f"{'a' * 60}@example.com", "list": ["posts", "notes"]})
    paths = {
        "form": "/p/daily/subscribe", "lists": "/p/weekly/subscribe", "nothing": "/confirm/nonsense",
        **{purpose.name.lower(): link(purpose) for purpose in Purpose},
    }  # fmt: skip
    for width in (320, 760):
        here = window(width=width, scheme=scheme)
        for name, path in paths.items():
            here.page.goto(path)
            here.take(f"{name}-{scheme}-{width}")
            small = here.page.evaluate(
                "[...document.querySelectorAll('button,input:not(.trap input):not([type=hidden])')]"
                ".filter(one => one.type !== 'checkbox' && one.getBoundingClientRect().height < 44).length"
            )
            assert small == 0, "too small for a thumb"


def test_a_keyboard_is_enough(window: Callable[..., Window], desk: Desk) -> None:  # noqa: F811
    here = window()
    here.page.goto("/p/daily/subscribe")
    for _ in range(2):
        here.page.keyboard.press("Tab")
    here.page.keyboard.type("ana@example.com")
    here.page.keyboard.press("Tab")
    here.page.keyboard.type("Ana")
    here.page.keyboard.press("Tab")
    focused = here.page.evaluate("document.activeElement.innerText")
    assert focused == "Subscribe", "what people do not see is not stopped at"
    here.page.keyboard.press("Enter")
    here.page.get_by_text("Success!").wait_for()
    assert desk.status(email="ana@example.com") == ("pending", 0)
