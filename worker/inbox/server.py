"""One process: the SMTP server and the pages, on one event loop."""

from __future__ import annotations

import asyncio
from pathlib import Path

import uvicorn

from worker.domain.clock import SystemClock
from worker.inbox.pages import create_pages
from worker.inbox.queries import MailBox
from worker.inbox.receive import Conversation, Keeper


def serve(folder: Path, host: str, smtp_port: int, page_port: int) -> None:
    """Receive and show mails until SIGTERM."""
    asyncio.run(_serve(folder, host, smtp_port, page_port))


async def _serve(folder: Path, host: str, smtp_port: int, page_port: int) -> None:
    clock = SystemClock()
    # one connection that writes, one that reads: a look at a page sees committed mails only
    box, shown = MailBox(folder), MailBox(folder)
    keeper = Keeper(lambda mails: box.put(mails, clock.now()))
    smtp = await asyncio.get_running_loop().create_server(lambda: Conversation(keeper), host, smtp_port)
    pages = uvicorn.Server(
        uvicorn.Config(create_pages(shown), host=host, port=page_port, log_config=None, access_log=False)
    )
    async with smtp:
        await pages.serve()
    box.close()
    shown.close()
