"""The HTTP face, wired."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI

from worker import __version__
from worker.web.campaigns import campaigns_router
from worker.web.deliveries import deliveries_router
from worker.web.docs import add_docs
from worker.web.events import events_router
from worker.web.framing import OneLength
from worker.web.health import health_router
from worker.web.pages import pages_router
from worker.web.problems import add_handlers

if TYPE_CHECKING:
    from worker.bootstrap import System

_ABOUT = """Events in, mail out, the status of every message on record.

Errors are problem details (RFC 9457): `errors` names each field that is wrong, and what would be right."""


def create_app(system: System) -> FastAPI:
    """The application of one process. Nothing is opened before the first request."""
    app = FastAPI(title="Pressrun", version=__version__, description=_ABOUT, docs_url=None, redoc_url=None)
    # it would answer `/healthz/` with a redirect to whatever host the request names
    app.router.redirect_slashes = False
    app.add_middleware(OneLength)
    add_handlers(app)
    add_docs(app)
    app.include_router(events_router(system))
    app.include_router(campaigns_router(system))
    app.include_router(deliveries_router(system))
    app.include_router(health_router(system))
    app.include_router(pages_router(system))
    return app
