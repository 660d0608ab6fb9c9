"""Reading and control need the bearer token of the publication that a thing belongs to."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

from fastapi import Security
from fastapi.security import HTTPBearer
from starlette.requests import Request

from worker.domain.errors import NotFound
from worker.domain.publication import Publication
from worker.intake.callers import bearer_caller

if TYPE_CHECKING:
    from worker.bootstrap import System

# For the documentation and its "Authorize" button; the answer is ours.
BEARER = HTTPBearer(auto_error=False, description="The publication's token: `PRESSRUN_<PUBLICATION>_TOKEN`.")


def token_holder(system: System) -> Callable[..., Publication]:
    """A dependency: the publication whose token came with the request. Raises `Unauthorised`."""

    def holder(request: Request, _: Annotated[object, Security(BEARER)]) -> Publication:
        return bearer_caller(system.publications.values(), request.headers.get("authorization", ""))

    return holder


def require_own(holder: Publication, owner: str, what: str) -> None:
    """Another publication's things are not there: neither is said whether they exist. Raises `NotFound`."""
    if holder.slug != owner:
        raise NotFound(f"there is no {what}")
