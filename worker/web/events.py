"""`/v1/events` and `/v1/sources/…`: where events come in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from worker.domain.errors import NotFound
from worker.domain.events import EventStatus
from worker.domain.publication import Publication
from worker.intake.callers import caller
from worker.intake.cloudevents import parse_event
from worker.intake.receive import Receipt, ReceiptStatus, check_publication
from worker.intake.sources import SOURCES, Webhook
from worker.intake.views import event_number, event_view, list_events
from worker.web.access import token_holder
from worker.web.bodies import read_body
from worker.web.campaigns import MAX_ID, MAX_PAGE, next_page
from worker.web.examples import event_body, source_body
from worker.web.problems import documented

if TYPE_CHECKING:
    from worker.bootstrap import System


class Taken(BaseModel):
    """What became of an event. `note` says it in words, and names the campaign."""

    id: str
    status: ReceiptStatus
    note: str


_TAKEN: dict[int | str, dict[str, Any]] = {
    200: {"model": Taken, "description": "`duplicate`: it was on record already, and nothing was changed."},
    202: {"model": Taken, "description": "`accepted`; or `ignored`: on record, but its type is not known here."},
}


def events_router(system: System) -> APIRouter:
    router = APIRouter(tags=["events"])
    _add_intake(router, system)
    _add_handshake(router)
    _add_sources(router, system)
    _add_view(router, system)
    return router


def _add_intake(router: APIRouter, system: System) -> None:
    @router.post(
        "/v1/events", status_code=202, summary="Hand in one event", openapi_extra=event_body(),
        responses=_TAKEN | documented(401, 409, 413, 415, 422, 503),
    )  # fmt: skip
    async def post_event(request: Request) -> Response:
        """One CloudEvent 1.0, structured (`application/cloudevents+json`) or binary (`ce-…` headers).

        Signed as a Standard Webhook (`webhook-id`, `webhook-timestamp`, `webhook-signature`), or with
        `Authorization: Bearer`. When this answers 2xx the event is on record, and the same event again changes
        nothing: send again until you have an answer.
        """
        body = await read_body(request, system.settings.max_event_bytes)
        return await run_in_threadpool(_take, system, request.headers, body)


def _take(system: System, headers: Headers, body: bytes) -> Response:
    now = system.clock.now().timestamp()
    tolerance = system.settings.signature_tolerance_seconds
    # over the raw bytes: nothing is parsed for who is not known
    sender = caller(system.publications.values(), headers, body, now, tolerance)
    event = parse_event(headers.items(), body)
    check_publication(system.publications, sender, event)
    return _answer(system.intake.receive(sender, event))


def _answer(receipt: Receipt) -> Response:
    status = 200 if receipt.status is ReceiptStatus.DUPLICATE else 202
    return JSONResponse({"id": receipt.id, "status": str(receipt.status), "note": receipt.note}, status)


def _add_handshake(router: APIRouter) -> None:
    @router.options(
        "/v1/events", status_code=200, response_class=Response,
        summary="Handshake of the CloudEvents webhook specification",
    )  # fmt: skip
    async def handshake(request: Request) -> Response:
        """Any origin may ask; what lets an event in is its token or signature (`http-webhook.md` §4)."""
        headers = {"Allow": "GET, OPTIONS, POST"}
        origin = request.headers.get("webhook-request-origin")
        if origin:
            headers |= {"WebHook-Allowed-Origin": origin, "WebHook-Allowed-Rate": "*"}
        return Response(status_code=200, headers=headers)


def _add_sources(router: APIRouter, system: System) -> None:
    @router.post(
        "/v1/sources/{kind}/{publication}", status_code=202, summary="Another system's webhook, as it is",
        openapi_extra=source_body(), responses=_TAKEN | documented(401, 404, 409, 413, 422, 503),
    )  # fmt: skip
    async def post_source(
        request: Request, kind: str, publication: str, list_: Annotated[str | None, Query(alias="list")] = None
    ) -> Response:
        """`ghost`: a webhook for posts and members, signed with the secret that is set beside it.

        `list` says which list, where the publication has several.
        """
        body = await read_body(request, system.settings.max_event_bytes)
        return await run_in_threadpool(_translate, system, kind, publication, request.headers, body, list_)


def _translate(system: System, kind: str, slug: str, headers: Headers, body: bytes, list_: str | None) -> Response:
    source, publication = SOURCES.get(kind), system.publications.get(slug)
    if source is None:
        raise NotFound(f"there is no source {kind[:64]!r}; there is {', '.join(SOURCES)}")
    if publication is None:
        raise NotFound(f"there is no publication {slug[:64]!r}")
    now, tolerance = system.clock.now().timestamp(), system.settings.signature_tolerance_seconds
    event = source(publication, Webhook(headers, body, list_, now, tolerance))
    return _answer(system.intake.receive(publication, event))


def _add_view(router: APIRouter, system: System) -> None:
    holder = Depends(token_holder(system))

    @router.get(
        "/v1/events", summary="Events, by status", response_model=list[dict[str, Any]],
        responses=documented(401, 422, 503),
    )  # fmt: skip
    def get_events(
        request: Request, status: EventStatus | None = None, after: Annotated[int, Query(ge=0, le=MAX_ID)] = 0,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100, own: Publication = holder,
    ) -> Response:  # fmt: skip
        """By `number`, those above `after`, each with what it led to; a `Link` header names the next page."""
        with system.database.read() as connection:
            page = list_events(connection, publication=own.slug, status=status, after=after, limit=limit)
        return JSONResponse(page, headers=next_page(request, page, limit, "number"))

    @router.get("/v1/events/{id:path}", summary="What became of an event", responses=documented(401, 404, 422, 503))
    def get_event(id: str, source: str | None = None, own: Publication = holder) -> dict[str, Any]:  # noqa: A002
        """By the event's own id; `source` where several sources have used the same one (else the newest)."""
        with system.database.read() as connection:
            return event_view(connection, own.slug, id, source)

    @router.post(
        "/v1/events/{id:path}/replay", summary="Let an event have its effect that led to nothing",
        response_model=Taken, responses=documented(401, 404, 409, 422, 503),
    )  # fmt: skip
    def replay(id: str, source: str | None = None, own: Publication = holder) -> Response:  # noqa: A002
        """One that was `ignored`, after an upgrade that knows its type. What had its effect is a 409."""
        with system.database.read() as connection:
            number = event_number(connection, own.slug, id, source)
        receipt = system.intake.replay(own, number)
        return JSONResponse({"id": receipt.id, "status": str(receipt.status), "note": receipt.note}, 200)
