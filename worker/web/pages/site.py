"""What all pages share: the system behind them, and an answer where its database cannot be reached."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from worker.domain.errors import TemporaryError
from worker.domain.publication import Publication
from worker.web.client_ip import client_ip
from worker.web.pages.render import Pages

if TYPE_CHECKING:
    from worker.bootstrap import System

log = structlog.get_logger(__name__)

RETRY_AFTER_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Site:
    """The pages and what they show."""

    system: System
    pages: Pages

    def publication(self, slug: str) -> Publication | None:
        return self.system.publications.get(slug)

    def names(self, publication: str, slugs: Sequence[str]) -> str:
        """Lists as a reader knows them: `New posts and Weekly digest`."""
        found = self.publication(publication)
        known = {} if found is None else {one.slug: one.name for one in found.lists}
        shown = [known.get(slug, slug) for slug in slugs]
        return " and ".join([*[", ".join(shown[:-1])][: len(shown) > 1], *shown[-1:]])

    def seen_ip(self, request: Request) -> str:
        """The reader's address; behind trusted proxies the forwarded one."""
        return client_ip(request, self.system.settings.trusted_proxies)

    def ring(self, deliveries: Sequence[int]) -> None:
        """After the commit."""
        for delivery_id in deliveries:
            self.system.doorbell.transactional(delivery_id)

    async def answer(self, work: Callable[[], Response], *, json: bool = False) -> Response:
        """What `work` answers, made away from the event loop. Where the database is away: a page that says so,
        or `TemporaryError` on to the API's own handling of it where the answer is to be `json`."""
        try:
            return await run_in_threadpool(work)
        except TemporaryError as error:
            if json:
                raise
            # the message names hosts and paths, which are the operator's to know
            log.warning("a page could not be served", error=str(error))
            return self.pages.unavailable(None, RETRY_AFTER_SECONDS)
