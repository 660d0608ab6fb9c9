"""`/manage/{token}`: all lists of a publication, and which of them a reader is on."""

from __future__ import annotations

from fastapi import APIRouter
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from worker.audience import manage
from worker.audience.addresses import mask
from worker.audience.manage import Choices
from worker.domain.errors import InvalidInput
from worker.domain.publication import Publication
from worker.web.pages.fields import Fields, first, read_fields
from worker.web.pages.site import Site


def add_manage(router: APIRouter, site: Site) -> None:
    """The routes of the manage link."""

    @router.api_route("/manage/{token}", methods=["GET", "HEAD"], include_in_schema=False)
    async def show(token: str) -> Response:
        return await site.answer(lambda: _looked(site, token))

    @router.post("/manage/{token}", include_in_schema=False)
    async def act(request: Request, token: str) -> Response:
        ip = site.seen_ip(request)
        try:
            fields = await read_fields(request)
        except InvalidInput:
            fields = {}
        return await site.answer(lambda: _changed(site, token, fields, ip))


def _looked(site: Site, token: str) -> Response:
    keys = site.system.keys
    with site.system.database.read() as connection:
        publication = site.publication(manage.publication_of(connection, keys, token) or "")
        found = None if publication is None else manage.look(connection, keys, token, publication)
    return _shown(site, publication, found, saved=False)


def _changed(site: Site, token: str, fields: Fields, ip: str) -> Response:
    with site.system.database.write() as connection:
        publication = site.publication(manage.publication_of(connection, site.system.keys, token) or "")
        found = None if publication is None else _act(site, connection, token, publication, fields, ip)
    return _shown(site, publication, found, saved=True)


def _act(
    site: Site, connection: Connection, token: str, publication: Publication, fields: Fields, ip: str
) -> Choices | None:
    """`action` is `save` (with `list` for each list wanted), `join` (with one `list`) or `leave-all`.

    Anything else changes nothing: an empty POST must not take anybody off their lists.
    """
    keys, now, action = site.system.keys, site.system.clock.now(), first(fields, "action")
    if action == "save":
        return manage.choose(connection, keys, token, publication, fields.get("list", []), ip, now)
    if action == "leave-all":
        return manage.leave_all(connection, keys, token, publication, ip, now)
    if action == "join" and publication.list_named(first(fields, "list")):
        return manage.join(connection, keys, token, publication, first(fields, "list"), ip, now)
    return manage.look(connection, keys, token, publication)


def _shown(site: Site, publication: Publication | None, found: Choices | None, *, saved: bool) -> Response:
    if publication is None or found is None:
        return site.pages.invalid_link()
    statuses = {slug: "" if status is None else status.value for slug, status in found.lists.items()}
    values = {"statuses": statuses, "email": mask(found.email), "saved": saved}
    return site.pages.page("manage.html", publication, values)
