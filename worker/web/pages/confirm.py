"""`/confirm/{token}`: GET shows one button and changes nothing, since mail scanners follow links; POST confirms."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from worker.audience import confirm
from worker.audience.confirm import Confirmation, ConfirmState
from worker.audience.signup import Consent
from worker.web.pages.site import Site
from worker.web.pages.subscribe import CHECK_EMAIL

_RESEND_FORM = "new link for an expired one"
# 410: what was behind this address is gone
_STATUS = {ConfirmState.EXPIRED: 410}


def add_confirm(router: APIRouter, site: Site) -> None:
    """The routes of the confirmation link."""

    @router.api_route("/confirm/{token}", methods=["GET", "HEAD"], include_in_schema=False)
    async def show(token: str) -> Response:
        return await site.answer(lambda: _shown(site, token, _looked(site, token)))

    @router.post("/confirm/{token}", include_in_schema=False)
    async def act(request: Request, token: str) -> Response:
        ip = site.seen_ip(request)
        return await site.answer(lambda: _shown(site, token, _confirmed(site, token, ip)))

    @router.post("/confirm/{token}/resend", include_in_schema=False)
    async def resend(request: Request, token: str) -> Response:
        ip = site.seen_ip(request)
        return await site.answer(lambda: _resent(site, token, ip))


def _looked(site: Site, token: str) -> Confirmation:
    system = site.system
    with system.database.read() as connection:
        return confirm.look(connection, system.keys, system.signup_rules, token, system.clock.now())


def _confirmed(site: Site, token: str, ip: str) -> Confirmation:
    system = site.system
    with system.database.write() as connection:
        done = confirm.confirm(
            connection, system.keys, system.signup_rules, system.publications, token, ip, system.clock.now()
        )
    site.ring(done.deliveries)
    return done


def _shown(site: Site, token: str, found: Confirmation) -> Response:
    if found.state == ConfirmState.INVALID:
        return site.pages.invalid_link()
    values = {
        "state": found.state.value, "lists": site.names(found.publication, found.lists), "email": found.email,
        # beside the page's own address, whatever path a proxy puts before it
        "resend": f"{token}/resend",
    }  # fmt: skip
    return site.pages.page(
        "confirm.html", site.publication(found.publication), values, _STATUS.get(found.state, 200)
    )


def _resent(site: Site, token: str, ip: str) -> Response:
    system, now = site.system, site.system.clock.now()
    with system.database.write() as connection:
        looked = confirm.look(connection, system.keys, system.signup_rules, token, now)
        done = confirm.resend(
            connection, system.keys, system.signup_rules, system.publications, token,
            Consent(at=now, ip=ip, form=_RESEND_FORM), now,
        )  # fmt: skip
    if done is None:
        return site.pages.invalid_link()
    site.ring(done.deliveries)
    # the same answer under the limits as above them
    return site.pages.message(site.publication(looked.publication), "Almost there", CHECK_EMAIL)
