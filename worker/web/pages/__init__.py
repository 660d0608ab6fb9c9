"""The few pages a reader sees. No script, no cookie, nothing loaded but the publication's logo."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter

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
    return router
