"""Request bodies, bounded while they are read."""

from __future__ import annotations

from starlette.requests import Request

from worker.domain.errors import FieldProblem, InvalidInput


class TooLarge(InvalidInput):
    """A body over the limit."""


class EncodedBody(InvalidInput):
    """A compressed body; it could be a thousand times what it looks like, and its signature is over other bytes."""


async def read_body(request: Request, limit: int) -> bytes:
    """All of it, `limit` bytes at most. What is announced or grows larger is not read to its end.

    Raises `TooLarge`, `EncodedBody`.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise EncodedBody([FieldProblem("content-encoding", "must be identity; send the body uncompressed")])
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced[:19]) > limit:
        raise _too_large(limit)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise _too_large(limit)
    return bytes(body)


def _too_large(limit: int) -> TooLarge:
    return TooLarge([FieldProblem("body", f"is larger than {limit} bytes, the limit here (PRESSRUN_MAX_EVENT_BYTES)")])
