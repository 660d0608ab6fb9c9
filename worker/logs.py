"""Logs: ours, Celery's, uvicorn's and the standard library's go through one format, console or JSON.

Ids (event, campaign, delivery) are bound where the work begins, with `structlog.contextvars.bound_contextvars`.
Addresses are logged at DEBUG at most; what could open a door (keys, bearer tokens, token links) is never written.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Callable
from typing import Literal, TextIO

import structlog
from structlog.types import EventDict, Processor, WrappedLogger

from worker.redaction import redact

# Libraries that tell of each request or connection at INFO, and Celery of each task: three lines for every sweep.
# Flower shows the tasks; our own lines say what came of them.
_TALKATIVE = (
    "httpx", "httpcore", "mail.log", "asyncio", "tornado.access", "celery.worker.strategy", "celery.app.trace",
    "celery.worker.request",
    # its banner: where it listens is said by `up` and by the part, the tasks stand in the code
    "flower.command", "kombu.mixins",
    # at every look whether the database is migrated
    "alembic",
)  # fmt: skip
# Asked before the first worker is up, or while the broker is away, it warns of every question that nobody answered.
_UNANSWERED = "flower.inspector"
# What these say at INFO when they start and stop, and for each probe of a monitor.
_IDLE = {
    # the scheduler tells of each tick; that it has started is worth a line, and is waited for
    "celery.beat": re.compile(r"Scheduler: Sending"),
    "uvicorn.error": re.compile(
        r"(Started|Finished) server process|Waiting for application |Application \w+ complete|Shutting down"
    ),
    "uvicorn.access": re.compile(r'.*"GET /(healthz|readyz|metrics)\b.*" 2\d\d'),
}
# Each of these tries again every few seconds for as long as the broker is away, and says so each time.
_RETRYING = {
    "celery.worker.consumer.consumer": re.compile(r"consumer: Cannot connect"),
    "celery.beat": re.compile(r"beat: Connection error"),
    "flower.events": re.compile(r"Failed to (capture|enable) events"),
}
_RETRYING_SECONDS = 60.0


def configure_logging(
    format: Literal["console", "json"], level: str, stream: TextIO | None = None,  # noqa: A002
    clock: Callable[[], float] = time.monotonic,
) -> None:  # fmt: skip
    """Set the whole process's logging up. May be called again; the last call holds. Writes to stderr by default.

    What libraries say that tells nobody anything is dropped, and what they repeat is said once a minute by `clock`
    (in seconds); at DEBUG all of it is there.
    """
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
    _calm(level, clock)


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


class _Idle(logging.Filter):
    """Drops what tells nobody anything, at INFO and below."""

    def __init__(self, words: re.Pattern[str]) -> None:
        super().__init__()
        self._words = words

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno > logging.INFO or self._words.match(record.getMessage()) is None


class _Seldom(logging.Filter):
    """Lets a complaint that is repeated through once a minute, on one line."""

    def __init__(self, words: re.Pattern[str], clock: Callable[[], float]) -> None:
        super().__init__()
        self._words = words
        self._clock = clock
        self._again = float("-inf")

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if self._words.match(message) is None:
            return True
        if self._clock() < self._again:
            return False
        self._again = self._clock() + _RETRYING_SECONDS
        record.msg, record.args = " ".join(message.split()), ()
        return True


def _calm(level: str, clock: Callable[[], float]) -> None:
    filters = {} if level == "DEBUG" else _filters(clock)
    for name in {*_IDLE, *_RETRYING}:
        logger = logging.getLogger(name)
        logger.filters[:] = [one for one in logger.filters if not isinstance(one, _Idle | _Seldom)]
        logger.filters += filters.get(name, [])
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(level if level == "DEBUG" else logging.WARNING)
    logging.getLogger(_UNANSWERED).setLevel(level if level == "DEBUG" else logging.ERROR)
    # uvicorn and Celery bring handlers of their own: without them a line goes up to the root's
    for name in ("uvicorn", "uvicorn.access", "uvicorn.error", "celery", "celery.task", "celery.redirected"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True


def _filters(clock: Callable[[], float]) -> dict[str, list[logging.Filter]]:
    found: dict[str, list[logging.Filter]] = {}
    for name, words in _IDLE.items():
        found.setdefault(name, []).append(_Idle(words))
    for name, words in _RETRYING.items():
        found.setdefault(name, []).append(_Seldom(words, clock))
    return found
