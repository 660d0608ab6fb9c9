"""`/unsubscribe/{token}`: a mail program's one click (RFC 8058) and the page with one button."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from worker.audience import leave
from worker.audience.addresses import mask
from worker.audience.leave import Membership
from worker.domain.errors import InvalidInput
from worker.web.pages.fields import first, read_fields
from worker.web.pages.site import Site


def add_unsubscribe(router: APIRouter, site: Site) -> None:
    """The routes of the unsubscribe link."""

    @router.api_route("/unsubscribe/{token}", methods=["GET", "HEAD"], include_in_schema=False)
    async def show(token: str) -> Response:
        return await site.answer(lambda: _looked(site, token))

    @router.post("/unsubscribe/{token}", include_in_schema=False)
    async def act(request: Request, token: str) -> Response:
        one_click, ip = await _is_one_click(request), site.seen_ip(request)
        return await site.answer(lambda: _left(site, token, ip, one_click))


async def _is_one_click(request: Request) -> bool:
    """What the body says is only written down: whoever POSTs to this address wants to leave, however they say it."""
    try:
        return first(await read_fields(request), "List-Unsubscribe") == "One-Click"
    except InvalidInput:
        return False


def _looked(site: Site, token: str) -> Response:
    with site.system.database.read() as connection:
        found = leave.look(connection, site.system.keys, token)
    return _shown(site, found)


def _left(site: Site, token: str, ip: str, one_click: bool) -> Response:
    system = site.system
    with system.database.write() as connection:
        found = leave.leave(connection, system.keys, token, ip, system.clock.now(), one_click=one_click)
    return _shown(site, found)


def _shown(site: Site, found: Membership | None) -> Response:
    if found is None:
        return site.pages.invalid_link()
    # these links never expire and travel with forwarded mail: the address is shown to who knows it already
    values = {
        "left": found.left, "list_slug": found.list_slug, "list_name": site.names(found.publication, [found.list_slug]),
        "email": mask(found.email), "manage_token": found.manage_token,
    }  # fmt: skip
    return site.pages.page("unsubscribe.html", site.publication(found.publication), values)
