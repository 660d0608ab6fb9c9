"""Every error as problem details (RFC 9457), with `errors: [{"field", "message"}]`. No traceback leaves the house."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from worker.domain.errors import Conflict, FieldProblem, InvalidInput, NotFound, TemporaryError
from worker.intake.cloudevents import UnsupportedMedia
from worker.intake.signatures import Unauthorised
from worker.web.bodies import EncodedBody, TooLarge

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 5


class FieldError(BaseModel):
    """One thing that is wrong."""

    field: str = Field(examples=["data.subscriber.email"])
    message: str = Field(examples=["is missing"])


class Problem(BaseModel):
    """RFC 9457."""

    type: str = Field(examples=["about:blank"])
    title: str = Field(examples=["Unprocessable Content"])
    status: int = Field(examples=[422])
    detail: str = Field(examples=["data.subscriber.email: is missing"])
    errors: list[FieldError]


def problem(
    status: int, detail: str, errors: Sequence[FieldProblem] = (), headers: Mapping[str, str] | None = None
) -> Response:
    """The answer to a request that failed."""
    body = {
        "type": "about:blank", "title": _title(status), "status": status, "detail": detail,
        "errors": [{"field": one.field, "message": one.message} for one in errors],
    }  # fmt: skip
    return JSONResponse(body, status, media_type=MEDIA_TYPE, headers=dict(headers or {}))


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """`responses=` of a route, for the API's documentation."""
    schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schema["properties"]["errors"]["items"] = schema.pop("$defs")["FieldError"]
    return {
        status: {"description": _MEANINGS.get(status, _title(status)), "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in statuses
    }


_MEANINGS = {
    401: "No token or signature, a stale or a forged one; the message says which.",
    404: "There is no such thing here, or it is another publication's.",
    409: "It contradicts what is on record.",
    413: "The body is larger than `PRESSRUN_MAX_EVENT_BYTES`.",
    415: "The body is of a kind that is not taken.",
    422: "Something in it is wrong; each field is named, and nothing was changed.",
    503: "The database cannot be reached now; try again after `Retry-After` seconds.",
}


def add_handlers(app: FastAPI) -> None:
    """Every exception that can reach the framework becomes a problem."""
    app.add_exception_handler(InvalidInput, _invalid)
    app.add_exception_handler(Unauthorised, _unauthorised)
    app.add_exception_handler(NotFound, _not_found)
    app.add_exception_handler(Conflict, _conflict)
    app.add_exception_handler(TemporaryError, _temporary)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _unforeseen)


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, InvalidInput)
    statuses: Sequence[tuple[type[InvalidInput], int]] = ((TooLarge, 413), (UnsupportedMedia, 415), (EncodedBody, 415))
    status = next((status for kind, status in statuses if isinstance(error, kind)), 422)
    return problem(status, str(error), error.problems)


async def _unauthorised(_: Request, error: Exception) -> Response:
    assert isinstance(error, Unauthorised)
    errors = [FieldProblem(error.field, error.message)]
    return problem(401, str(error), errors, {"WWW-Authenticate": 'Bearer realm="pressrun"'})


async def _not_found(_: Request, error: Exception) -> Response:
    return problem(404, str(error))


async def _conflict(_: Request, error: Exception) -> Response:
    return problem(409, str(error))


async def _temporary(request: Request, error: Exception) -> Response:
    # the message names hosts and paths, which are the operator's to know
    # (and the route's pattern is logged, since a path may hold a reader's token)
    route = getattr(request.scope.get("route"), "path", "")
    log.warning("a request could not be served", route=route, error=str(error))
    detail = "a part that is needed cannot be reached now; nothing was changed, send the same again later"
    return problem(503, detail, (), {"Retry-After": str(RETRY_AFTER_SECONDS)})


async def _validation(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = [FieldProblem(_place(one["loc"]), _expected(one)) for one in error.errors()]
    return problem(422, "; ".join(map(str, errors)), errors)


def _place(parts: Sequence[str | int]) -> str:
    """The first says where the parameter stands: `query`, `path`; a number, which of several it is."""
    return ".".join(part for part in parts[1:] if isinstance(part, str))


# What a parameter of a path or a query can be wrong in, by pydantic's name for it.
_EXPECTED = {
    "missing": "is missing",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "is too large a number",
    "greater_than_equal": "must be {ge} or more",
    "less_than_equal": "must be {le} or less",
    "enum": "must be one of {expected}",
    "literal_error": "must be one of {expected}",
}


def _expected(wrong: Mapping[str, Any]) -> str:
    words = _EXPECTED.get(wrong["type"])
    return str(wrong["msg"]) if words is None else words.format(**wrong.get("ctx", {}))


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = error.detail
    if error.status_code == 404 and detail == _title(404):
        detail = "there is nothing at this address; /docs lists what there is"
    if error.status_code == 405:
        detail = f"{request.method} is not possible here"
    return problem(error.status_code, detail, (), error.headers)


async def _gone(_: Request, __: Exception) -> Response:
    return problem(400, "the connection was closed before the body was complete")


async def _unforeseen(_: Request, __: Exception) -> Response:
    # logged with its traceback by the server, which the exception goes on to
    return problem(500, "a fault of this service; it is in its log, and nothing is half done")


# As RFC 9110 has them; Python took these names over in 3.13.
_RENAMED = {413: "Content Too Large", 422: "Unprocessable Content"}


def _title(status: int) -> str:
    if status in _RENAMED:
        return _RENAMED[status]
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
