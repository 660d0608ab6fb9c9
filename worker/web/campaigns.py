"""Campaigns and their deliveries: looked at and controlled by the publication they belong to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from worker.campaigns.progress import campaign_view
from worker.campaigns.retrying import Retryable
from worker.domain.delivery import DeliveryStatus
from worker.domain.publication import Publication
from worker.web.access import require_own, token_holder
from worker.web.problems import documented

if TYPE_CHECKING:
    from worker.bootstrap import System

# what a column holds; beyond it a driver would fail, not find nothing
MAX_ID = 2**63 - 1
MAX_PAGE = 1000
Id = Annotated[int, Path(ge=1, le=MAX_ID)]
Object = dict[str, Any]


def campaigns_router(system: System) -> APIRouter:
    router = APIRouter(tags=["campaigns"])
    _add_views(router, system)
    _add_lists(router, system)
    _add_control(router, system)
    return router


def _own_campaign(system: System, own: Publication, campaign_id: int) -> Object:
    with system.database.read() as connection:
        found = campaign_view(connection, campaign_id, system.clock.now())
    require_own(own, found["publication"], f"campaign {campaign_id}")
    return found


def _add_views(router: APIRouter, system: System) -> None:
    holder = Depends(token_holder(system))

    @router.get("/v1/campaigns/{id}", summary="A campaign and its counts", responses=documented(401, 404, 422, 503))
    def get_campaign(id: Id, own: Publication = holder) -> Object:  # noqa: A002
        """The same object as in `pressrun status --json`."""
        return _own_campaign(system, own, id)


def _add_lists(router: APIRouter, system: System) -> None:
    holder = Depends(token_holder(system))

    @router.get(
        "/v1/campaigns/{id}/deliveries", summary="A campaign's deliveries", response_model=list[Object],
        responses=documented(401, 404, 422, 503),
    )  # fmt: skip
    def get_deliveries(
        request: Request, id: Id, status: DeliveryStatus | None = None,  # noqa: A002
        after: Annotated[int, Query(ge=0, le=MAX_ID)] = 0, limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
        own: Publication = holder,
    ) -> Response:  # fmt: skip
        """By id, those above `after`; a `Link` header names the next page."""
        _own_campaign(system, own, id)
        with system.database.read() as connection:
            page = system.delivery_views.of_campaign(connection, id, status=status, after=after, limit=limit)
        return JSONResponse(page, headers=next_page(request, page, limit))


def next_page(request: Request, page: list[Object], limit: int, key: str = "id") -> dict[str, str]:
    """The header that names the next page of a list by id, where there may be one."""
    if len(page) < limit:
        return {}
    following = request.url.include_query_params(after=page[-1][key])
    return {"Link": f'<{following.path}?{following.query}>; rel="next"'}


def _add_control(router: APIRouter, system: System) -> None:
    holder = Depends(token_holder(system))
    responses = documented(401, 404, 409, 422, 503)

    @router.post("/v1/campaigns/{id}/pause", summary="Pause", responses=responses)
    def pause(id: Id, own: Publication = holder) -> Object:  # noqa: A002
        """Nothing of it is claimed from now on."""
        _own_campaign(system, own, id)
        system.control.pause(id)
        return _own_campaign(system, own, id)

    @router.post("/v1/campaigns/{id}/resume", summary="Resume, or release what is held", responses=responses)
    def resume(id: Id, own: Publication = holder) -> Object:  # noqa: A002
        _own_campaign(system, own, id)
        system.control.resume(id)
        return _own_campaign(system, own, id)

    @router.post("/v1/campaigns/{id}/cancel", summary="Cancel what is not sent", responses=responses)
    def cancel(id: Id, own: Publication = holder) -> Object:  # noqa: A002
        _own_campaign(system, own, id)
        system.control.cancel(id)
        return _own_campaign(system, own, id)

    @router.post("/v1/campaigns/{id}/retry", summary="Send again to those that ended badly", responses=responses)
    def retry(
        id: Id, status: Annotated[list[Retryable] | None, Query()] = None, own: Publication = holder  # noqa: A002
    ) -> Object:
        """`status`, once or more: which ends get another life; `failed` unless it is given.

        Answers within seconds: `retrying` names what of it is still being queued again.
        """
        _own_campaign(system, own, id)
        system.control.retry(id, tuple(status or (DeliveryStatus.FAILED,)))
        return _own_campaign(system, own, id)

    @router.post("/v1/campaigns/{id}/mark-sent", summary="Consider unknown outcomes sent", responses=responses)
    def mark_sent(id: Id, own: Publication = holder) -> Object:  # noqa: A002
        """For those whose relay's log says that they went out. Call again while `unknown` is among the counts."""
        _own_campaign(system, own, id)
        system.replay.consider_campaign_sent(id)
        return _own_campaign(system, own, id)
