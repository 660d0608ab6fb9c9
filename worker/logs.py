"""Logs: ours, Celery's, uvicorn's and the standard library's go through one format, console or JSON.

Ids (event, campaign, delivery) are bound where the work begins, with `structlog.contextvars.bound_contextvars`.
Addresses are logged at DEBUG at most; what could open a door (keys, bearer tokens, token links) is never written.
"""

from __future__ import annotations

import logging
import sys
from typing import Literal, TextIO

import structlog
from structlog.types import EventDict, Processor, WrappedLogger

from worker.redaction import redact

# Libraries that tell of each request or connection at INFO, and Celery of each task: three lines for every sweep.
# Flower shows the tasks; our own lines say what came of them.
_TALKATIVE = (
    "httpx", "httpcore", "mail.log", "asyncio", "tornado.access", "celery.worker.strategy", "celery.app.trace",
    "celery.worker.request",
)  # fmt: skip


def configure_logging(format: Literal["console", "json"], level: str, stream: TextIO | None = None) -> None:  # noqa: A002
    """Set the whole process's logging up. May be called again; the last call holds. Writes to stderr by default."""
    shared = _shared_processors()
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=_last_processors(format, handler))
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    _calm(level)


def _shared_processors() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]


def _last_processors(
    format: Literal["console", "json"], handler: logging.StreamHandler[TextIO]  # noqa: A002
) -> list[Processor]:
    """Redaction stands last: it sees the line as it will be written, tracebacks and all."""
    remove = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    if format == "json":
        return [remove, structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str), _redacted]
    colors = handler.stream.isatty()
    plain = structlog.dev.ConsoleRenderer(
        colors=colors, pad_event_to=0, exception_formatter=structlog.dev.plain_traceback
    )
    return [remove, plain, _redacted]


def _redacted(_logger: WrappedLogger, _method: str, line: EventDict | str) -> str:
    return redact(str(line))


def _no_tick(record: logging.LogRecord) -> bool:
    """The scheduler tells of each tick; that it has started is worth a line, and is waited for."""
    return not str(record.msg).startswith("Scheduler: Sending")


def _calm(level: str) -> None:
    if level != "DEBUG":
        logging.getLogger("celery.beat").addFilter(_no_tick)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(level if level == "DEBUG" else logging.WARNING)
    # uvicorn and Celery bring handlers of their own: without them a line goes up to the root's
    for name in ("uvicorn", "uvicorn.access", "uvicorn.error", "celery", "celery.task", "celery.redirected"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
