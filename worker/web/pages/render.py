"""Pages from templates, with the headers that keep a token in the address bar to its reader."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from pathlib import Path
from urllib.parse import urlsplit

import jinja2
from markupsafe import Markup
from starlette.responses import HTMLResponse

from worker.domain.publication import Brand, Publication
from worker.web.pages.colors import ink_on, readable_on

# The grounds that `style.css` paints, light and dark.
_CARD_LIGHT = "#ffffff"
_CARD_DARK = "#1c1f24"
_NOBODY = Brand(url="")

_HEADERS = {
    # the address holds a token: nobody else learns it, and nothing keeps it
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "X-Robots-Tag": "noindex, nofollow",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


@dataclass(frozen=True, slots=True)
class _Look:
    """A publication's style and the policy that allows it, and no other, into the page."""

    style: Markup
    policy: str


class Pages:
    """`folder` holds the templates and `style.css`."""

    def __init__(self, folder: Path) -> None:
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(folder), autoescape=True, undefined=jinja2.StrictUndefined,
            trim_blocks=True, lstrip_blocks=True,
        )  # fmt: skip
        self._sheet = (folder / "style.css").read_text("utf-8")
        self._looks: dict[str, _Look] = {}

    def page(
        self, template: str, publication: Publication | None, values: Mapping[str, object], status: int = 200
    ) -> HTMLResponse:
        """One page in the publication's look; without one (a broken link could be anybody's) in a plain one."""
        look = self._look(publication)
        known = {"publication": publication, "style": look.style}
        body = self._environment.get_template(template).render({**known, **values})
        return HTMLResponse(body, status, headers={**_HEADERS, "Content-Security-Policy": look.policy})

    def invalid_link(self) -> HTMLResponse:
        """For a token that is not genuine: the same page whatever is wrong with it."""
        return self.message(
            None, "This link does not work",
            "It may have been cut short on its way. Please use the button or the whole link from the mail.",
            404,
        )  # fmt: skip

    def unavailable(self, publication: Publication | None, retry_after: int) -> HTMLResponse:
        page = self.message(
            publication, "Please try again in a moment",
            "Something we need cannot be reached right now. Nothing was changed.",
            503,
        )  # fmt: skip
        page.headers["Retry-After"] = str(retry_after)
        return page

    def message(self, publication: Publication | None, title: str, text: str, status: int = 200) -> HTMLResponse:
        # an apostrophe as it is, not as an entity: the words stay the words in the page's source, too
        values = {"title": title, "text": Markup(escape(text, quote=False))}  # noqa: S704 - escaped
        return self.page("message.html", publication, values, status)

    def _look(self, publication: Publication | None) -> _Look:
        brand = _NOBODY if publication is None else publication.brand
        key = "" if publication is None else publication.slug
        found = self._looks.get(key)
        if found is None:
            found = self._looks[key] = _look(brand, self._sheet)
        return found


def _look(brand: Brand, sheet: str) -> _Look:
    light = f"--brand:{brand.color};--ink:{ink_on(brand.color)};--link:{readable_on(brand.color, _CARD_LIGHT)}"
    dark = f"--link:{readable_on(brand.color, _CARD_DARK)}"
    style = f":root{{{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}\n{sheet}"
    digest = base64.b64encode(sha256(style.encode()).digest()).decode("ascii")
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src {_origin(brand.logo)}; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    )
    return _Look(Markup(style), policy)  # noqa: S704 - the sheet is ours, and a colour is six hexadecimal digits


def _origin(url: str) -> str:
    """What an image may be loaded from. A host that is no plain name could add words to the policy."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    plain = host and all(one.isalnum() or one in ".-:[]" for one in host) and host.isascii()
    return f"{parts.scheme}://{host}" if plain else "'none'"
