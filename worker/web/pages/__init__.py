"""The few pages a reader sees. No script, no cookie, nothing loaded but the publication's logo."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.responses import Response

from worker.resources import templates_dir
from worker.web.pages.confirm import add_confirm
from worker.web.pages.manage import add_manage
from worker.web.pages.render import Pages
from worker.web.pages.site import Site
from worker.web.pages.subscribe import add_subscribe
from worker.web.pages.unsubscribe import add_unsubscribe

if TYPE_CHECKING:
    from worker.bootstrap import System


def pages_router(system: System) -> APIRouter:
    """`/p/{publication}/subscribe`, `/confirm/{token}`, `/unsubscribe/{token}`, `/manage/{token}`."""
    router = APIRouter(tags=["pages"])
    site = Site(system, Pages(templates_dir() / "web"))
    for add in (add_subscribe, add_confirm, add_unsubscribe, add_manage):
        add(router, site)
    _add_torn(router, site)
    return router


def _add_torn(router: APIRouter, site: Site) -> None:
    """A reader's link with something behind it, or with nothing, is answered with a page, too."""

    async def torn() -> Response:
        return site.pages.invalid_link()

    for folder in ("confirm", "unsubscribe", "manage"):
        router.add_api_route(
            f"/{folder}/{{rest:path}}", torn, methods=["GET", "HEAD", "POST"], include_in_schema=False
        )  # fmt: skip
