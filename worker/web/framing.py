"""One request has one length."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from worker.domain.errors import FieldProblem
from worker.web.problems import problem

_LENGTHS = frozenset({b"content-length", b"transfer-encoding"})
_WHY = FieldProblem("content-length", "stands beside transfer-encoding; send one of the two")


class OneLength:
    """Refuses a request with two lengths and hangs up (RFC 9112 §6.1).

    A proxy that goes by the other one would take the end of its body for the next request: somebody else's.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and {name for name, _ in scope["headers"]} >= _LENGTHS:
            answer = problem(400, str(_WHY), [_WHY], {"Connection": "close"})
            await answer(scope, receive, send)
        else:
            await self._app(scope, receive, send)
