"""Reading and control need the bearer token of the publication that a thing belongs to."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

from fastapi import Security
from fastapi.security import HTTPBearer
from starlette.requests import Request

from worker.domain.errors import NotFound
from worker.domain.network import read_ip
from worker.domain.publication import Publication
from worker.intake.callers import bearer_caller, check_bearer
from worker.intake.signatures import Unauthorised
from worker.web.client_ip import client_ip

if TYPE_CHECKING:
    from worker.bootstrap import System

# For the documentation and its "Authorize" button; the answer is ours.
BEARER = HTTPBearer(auto_error=False, description="The publication's token: `PRESSRUN_<PUBLICATION>_TOKEN`.")


def token_holder(system: System) -> Callable[..., Publication]:
    """A dependency: the publication whose token came with the request. Raises `Unauthorised`."""

    def holder(request: Request, _: Annotated[object, Security(BEARER)]) -> Publication:
        return bearer_caller(system.publications.values(), request.headers.get("authorization", ""))

    return holder


# What a proxy leaves on a request that it hands on.
_FORWARDED = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip")


def require_scraper(system: System) -> Callable[..., None]:
    """A dependency: whoever has the metrics' token; without one, a process of this host. Raises `Unauthorised`."""

    def scraper(request: Request, _: Annotated[object, Security(BEARER)]) -> None:
        token = system.settings.metrics_token
        if token:
            check_bearer(token, request.headers.get("authorization", ""))
        elif not _is_of_this_host(request):
            raise Unauthorised("authorization", "metrics are for this host alone, unless PRESSRUN_METRICS_TOKEN is set")

    return scraper


def _is_of_this_host(request: Request) -> bool:
    """A proxy on this host speaks for strangers, so what it hands on does not count."""
    peer = read_ip(client_ip(request, ()))
    return peer is not None and peer.is_loopback and not any(name in request.headers for name in _FORWARDED)


def require_own(holder: Publication, owner: str, what: str) -> None:
    """Another publication's things are not there: neither is said whether they exist. Raises `NotFound`."""
    if holder.slug != owner:
        raise NotFound(f"there is no {what}")
