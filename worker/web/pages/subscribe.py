"""`/p/{publication}/subscribe`: the sign-up form. Whatever is known of an address, the answer is the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from worker.audience.signup import Consent, SignUp, sign_up
from worker.domain.errors import FieldProblem, InvalidInput
from worker.domain.publication import Publication
from worker.web.pages.fields import Fields, first, is_json, read_fields, wants_json
from worker.web.pages.signupform import HONEYPOT, Asked, consent_wording, read_form
from worker.web.pages.site import Site
from worker.web.problems import documented, problem

CHECK_EMAIL = (
    "Success! Now check your email. To complete your subscription, click the confirmation link in your inbox. "
    "If it doesn't arrive within 3 minutes, check your spam folder."
)

_BODY = {
    "type": "object",
    "required": ["email"],
    "properties": {
        "email": {"type": "string", "examples": ["ana.lopez@example.com"]},
        "name": {"type": ["string", "null"]},
        "lists": {
            "type": ["array", "string", "null"], "items": {"type": "string"},
            "description": "Needed where there are several.",
        },
        "form": {"type": ["string", "null"], "description": "Which form of yours it was; kept as evidence."},
        "wording": {"type": ["string", "null"], "description": "What it said; kept as evidence."},
    },
}  # fmt: skip
_OPENAPI: Mapping[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": _BODY}, "application/x-www-form-urlencoded": {"schema": _BODY}},
    }
}


def _documented() -> dict[int | str, dict[str, Any]]:
    """A fetch with JSON gets JSON, a form its page, whatever the answer is."""
    page: dict[str, Any] = {"text/html": {"schema": {"type": "string"}}}
    found = documented(404, 422, 503)
    for one in found.values():
        one["content"] |= page
    return found | {200: {"description": "The same whatever is known of the address.", "content": page}}


def add_subscribe(router: APIRouter, site: Site) -> None:
    """The routes of the sign-up form."""
    path = "/p/{publication}/subscribe"

    @router.api_route(path, methods=["GET", "HEAD"], include_in_schema=False)
    async def show(publication: str) -> Response:
        found = site.publication(publication)
        return _unknown(site) if found is None else _form(site, found, {}, ())

    @router.options(path, include_in_schema=False)
    async def preflight(request: Request, publication: str) -> Response:
        return Response(status_code=204, headers=_cors(site.publication(publication), request))

    @router.post(path, summary="Sign a reader up", openapi_extra=dict(_OPENAPI), responses=_documented())
    async def act(request: Request, publication: str) -> Response:
        found = site.publication(publication)
        json = wants_json(request)
        if found is None:
            return problem(404, f"there is no publication {publication!r}") if json else _unknown(site)
        answer = await _posted(site, found, request, json)
        answer.headers.update(_cors(found, request))
        return answer


async def _posted(site: Site, publication: Publication, request: Request, json: bool) -> Response:
    fields: Fields = {}
    try:
        fields = await read_fields(request)
        asked = read_form(publication, fields, ours=not is_json(request))
    except InvalidInput as error:
        if json:
            return problem(422, str(error), error.problems)
        return _form(site, publication, fields, error.problems)
    ip = site.seen_ip(request)
    # whoever fills in what nobody sees gets the same answer, and nothing else
    trapped = bool(first(fields, HONEYPOT))
    return await site.answer(
        lambda: _signed_up(site, publication, asked, ip, json=json, trapped=trapped), json=json
    )


def _signed_up(
    site: Site, publication: Publication, asked: Asked, ip: str, *, json: bool, trapped: bool
) -> Response:
    if not trapped:
        system, now = site.system, site.system.clock.now()
        consent = Consent(at=now, ip=ip, form=asked.form, wording=asked.wording)
        signup = SignUp(
            address=asked.address, name=asked.name, locale="", lists=asked.lists, labels=(), confirmed=False,
            consent=consent, seen_ip=ip,
        )  # fmt: skip
        with system.database.write() as connection:
            result = sign_up(connection, system.signup_rules, publication, signup, now)
        site.ring(result.deliveries)
    if json:
        return JSONResponse({"status": "check_email", "message": CHECK_EMAIL}, headers={"Cache-Control": "no-store"})
    return site.pages.message(publication, "Almost there", CHECK_EMAIL)


def _form(
    site: Site, publication: Publication, fields: Fields, problems: tuple[FieldProblem, ...]
) -> Response:
    slugs = [one.slug for one in publication.lists]
    chosen = [*fields.get("lists", []), *fields.get("list", [])]
    values = {
        "email": first(fields, "email"), "name": first(fields, "name"),
        "chosen": chosen if problems else slugs[:1], "honeypot": HONEYPOT,
        "errors": {one.field: one.message for one in problems},
        "wording": consent_wording(publication),
    }  # fmt: skip
    return site.pages.page("subscribe.html", publication, values, 422 if problems else 200)


def _unknown(site: Site) -> Response:
    return site.pages.message(None, "There is no such page", "Please check the address of this page.", 404)


def _cors(publication: Publication | None, request: Request) -> dict[str, str]:
    """The publication's own site may send its own form's fields with a script; nobody else's may."""
    origin = request.headers.get("origin", "")
    if publication is None:
        return {}
    allowed = {"Vary": "Origin"}
    site = urlsplit(publication.brand.url)
    if origin and origin == f"{site.scheme}://{site.netloc}":
        allowed |= {
            "Access-Control-Allow-Origin": origin, "Access-Control-Allow-Methods": "POST",
            "Access-Control-Allow-Headers": "Content-Type", "Access-Control-Max-Age": "600",
        }  # fmt: skip
    return allowed
