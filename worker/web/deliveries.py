"""Single deliveries: what became of them, and another try for those that ended badly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from worker.campaigns.retrying import Retryable
from worker.domain.delivery import DeliveryStatus
from worker.domain.publication import Publication
from worker.web.access import require_own, token_holder
from worker.web.campaigns import MAX_ID, MAX_PAGE, Id, Object, next_page
from worker.web.problems import documented

if TYPE_CHECKING:
    from worker.bootstrap import System


class Replayed(BaseModel):
    """`queued` so many again. `more`: call again for the rest; `worthless`: their link is over, so they stay."""

    queued: int
    worthless: int
    more: bool


def deliveries_router(system: System) -> APIRouter:
    router = APIRouter(tags=["deliveries"])
    _add_views(router, system)
    _add_replay(router, system)
    return router


def _own_delivery(system: System, own: Publication, delivery_id: int) -> dict[str, Any]:
    with system.database.read() as connection:
        found = system.delivery_views.one(connection, delivery_id)
    require_own(own, found["publication"], f"delivery {delivery_id}")
    return found


def _add_views(router: APIRouter, system: System) -> None:
    holder = Depends(token_holder(system))

    @router.get("/v1/deliveries/{id}", summary="One delivery's whole life", responses=documented(401, 404, 422, 503))
    def get_delivery(id: Id, own: Publication = holder) -> Object:  # noqa: A002
        return _own_delivery(system, own, id)

    @router.get(
        "/v1/deliveries", summary="Deliveries with a status, over all campaigns", response_model=list[Object],
        responses=documented(401, 422, 503),
    )  # fmt: skip
    def get_with_status(
        request: Request, status: DeliveryStatus, after: Annotated[int, Query(ge=0, le=MAX_ID)] = 0,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100, own: Publication = holder,
    ) -> Response:  # fmt: skip
        """Campaigns' and transactional mail, by id, those above `after`; a `Link` header names the next page."""
        with system.database.read() as connection:
            page = system.delivery_views.with_status(
                connection, status, publication=own.slug, after=after, limit=limit
            )
        return JSONResponse(page, headers=next_page(request, page, limit))


def _add_replay(router: APIRouter, system: System) -> None:
    holder = Depends(token_holder(system))
    responses = documented(401, 404, 409, 422, 503)

    @router.post("/v1/deliveries/{id}/retry", summary="Send one again", responses=responses)
    def retry(id: Id, own: Publication = holder) -> Object:  # noqa: A002
        """With the same Message-ID; its attempts stay on record, its lifetime starts anew."""
        _own_delivery(system, own, id)
        system.replay.again(id)
        return _own_delivery(system, own, id)

    @router.post("/v1/deliveries/{id}/mark-sent", summary="Consider an unknown outcome sent", responses=responses)
    def mark_sent(id: Id, own: Publication = holder) -> Object:  # noqa: A002
        _own_delivery(system, own, id)
        system.replay.consider_sent(id)
        return _own_delivery(system, own, id)

    @router.post(
        "/v1/transactional/retry", summary="Send transactional mail again that ended badly",
        responses=documented(401, 422, 503),
    )  # fmt: skip
    def retry_transactional(
        status: Annotated[list[Retryable] | None, Query()] = None, own: Publication = holder
    ) -> Replayed:
        """`status`, once or more; `failed` unless it is given. A campaign's mail: `/v1/campaigns/{id}/retry`."""
        done = system.replay.transactional(tuple(status or (DeliveryStatus.FAILED,)), own.slug)
        return Replayed(queued=done.n, worthless=done.worthless, more=done.more)
