"""One format for all logs, and nothing in them that opens a door."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Literal

import pytest
import structlog

from worker.domain.tokens import Claim, KeyRing, Purpose
from worker.logs import configure_logging
from worker.redaction import redact

_TOKEN = "AQIBAAAAAAAAAAcAAAAAZ7Zx-w_k2J3"


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def _logged(format_: Literal["console", "json"], level: str = "INFO") -> io.StringIO:
    stream = io.StringIO()
    configure_logging(format_, level, stream)
    return stream


@pytest.mark.parametrize("format_", ["console", "json"])
def test_all_logs_go_one_way(format_: Literal["console", "json"]) -> None:
    stream = _logged(format_)
    with structlog.contextvars.bound_contextvars(campaign=7):
        structlog.get_logger("ours").info("turn", handed_over=3)
        logging.getLogger("celery.worker").info("ready %s", "now")
        logging.getLogger("uvicorn.access").warning("GET /x")
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3
    for line, words in zip(lines, ("turn", "ready now", "GET /x"), strict=True):
        assert words in line
        if format_ == "json":
            assert json.loads(line)["campaign"] == 7
        else:
            assert "campaign=7" in line


def test_a_traceback_is_one_json_line() -> None:
    stream = _logged("json")
    try:
        raise ValueError("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw was wrong")
    except ValueError:
        structlog.get_logger("ours").exception("failed")
    (line,) = stream.getvalue().splitlines()
    found = json.loads(line)
    assert "ValueError: whsec_[hidden] was wrong" in found["exception"]


def test_the_last_call_holds() -> None:
    first = _logged("console")
    second = _logged("console", "WARNING")
    structlog.get_logger("ours").info("unheard")
    structlog.get_logger("ours").warning("heard")
    assert first.getvalue() == ""
    assert "heard" in second.getvalue()
    assert "unheard" not in second.getvalue()


_QUIET = [
    ("celery.beat", logging.INFO, "Scheduler: Sending due task sweep"),
    ("uvicorn.error", logging.INFO, "Waiting for application startup."),
    ("uvicorn.access", logging.INFO, '127.0.0.1:1 - "GET /healthz HTTP/1.1" 200'),
    ("flower.command", logging.INFO, "Registered tasks: \n['celery.accumulate']"),
    ("flower.inspector", logging.WARNING, "Inspect method conf failed"),
    ("kombu.mixins", logging.INFO, "Connected to redis"),
    ("alembic.runtime.migration", logging.INFO, "Context impl SQLiteImpl."),
]
_LOUD = [
    ("celery.beat", logging.INFO, "beat: Starting..."),
    ("uvicorn.error", logging.INFO, "Uvicorn running on http://127.0.0.1:8025"),
    ("uvicorn.error", logging.ERROR, "Application startup failed. Exiting."),
    ("uvicorn.access", logging.INFO, '127.0.0.1:1 - "GET /readyz HTTP/1.1" 503'),
    ("uvicorn.access", logging.INFO, '127.0.0.1:1 - "GET /healthzz HTTP/1.1" 200'),
    ("flower.command", logging.ERROR, "Invalid '--auth' option: x"),
    ("flower.inspector", logging.ERROR, "Worker inspection failed: x"),
]


@pytest.mark.parametrize(("logger", "level", "line"), _QUIET)
def test_what_tells_nobody_anything_is_only_said_at_debug(logger: str, level: int, line: str) -> None:
    quiet = _logged("console")
    logging.getLogger(logger).log(level, line)
    assert quiet.getvalue() == ""
    all_of_it = _logged("console", "DEBUG")
    logging.getLogger(logger).log(level, line)
    assert line in all_of_it.getvalue()


@pytest.mark.parametrize(("logger", "level", "line"), _LOUD)
def test_the_rest_is_said(logger: str, level: int, line: str) -> None:
    stream = _logged("console")
    logging.getLogger(logger).log(level, line)
    assert line in stream.getvalue()


def test_a_complaint_is_said_once_a_minute_on_one_line() -> None:
    stream, now = io.StringIO(), [100.0]
    configure_logging("console", "INFO", stream, lambda: now[0])
    consumer, flower = logging.getLogger("celery.worker.consumer.consumer"), logging.getLogger("flower.events")
    for seconds in (0, 2, 4, 59):
        now[0] = 100.0 + seconds
        consumer.error("consumer: Cannot connect to %s: %s.\n%s\n", "redis://h", "refused", f"Again in {seconds} s")
        flower.error("Failed to capture events: '%s'", "refused")
    consumer.error("something else")
    assert len(stream.getvalue().splitlines()) == 3
    assert "Cannot connect to redis://h: refused. Again in 0 s [" in stream.getvalue()
    now[0] = 161.0
    consumer.error("consumer: Cannot connect to %s: %s.\n%s\n", "redis://h", "refused", "Again in 9 s")
    assert "Again in 9 s" in stream.getvalue()


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        (f"GET /confirm/{_TOKEN} 200", _TOKEN),
        (f"http://x/unsubscribe/{_TOKEN}?a=b", _TOKEN),
        (f"/manage/{_TOKEN}", _TOKEN),
        # torn, or put together again by hand: the rest is worth as much
        *((f"GET {path.format(_TOKEN)} 404", _TOKEN[9:]) for path in (
            "/unsubscribe//{}", "/Unsubscribe/%20{}", "/manage/=\\n{}", "/confirm/./{}", "/confirm/x/{}/resend",
            "/p/daily/subscribe?from=/unsubscribe%2F{}",
        )),
        (f"GET /unsubscribe/{_TOKEN[:12]}={_TOKEN[12:]} 404", _TOKEN[12:]),
        ("Authorization: Bearer abc.def-123", "abc.def-123"),
        ("authorization: basic cHJlc3NydW46cHc=", "cHJlc3NydW46cHc="),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        ("postgresql+psycopg://me:s3cr3t@db/x", "s3cr3t"),
        ("redis://:s3cr3t@host:6379/0", "s3cr3t"),
        ("smtp://user:p%40ss@relay:587", "p%40ss"),
    ],
)
def test_what_opens_a_door_is_hidden(text: str, hidden: str) -> None:
    assert hidden not in redact(text)
    assert "[hidden]" in redact(text)


@pytest.mark.parametrize("purpose", Purpose)
def test_a_token_is_hidden_wherever_it_stands(purpose: Purpose) -> None:
    for key in range(256):
        token = KeyRing({key: b"k"}, key).sign(Claim(purpose, 2**40 + key, key, 1_800_000_000))
        for text in "{}", "/unsubscribe/?{}", "/unsubscribe%252F{}", "/manage.{}", "/confirm{}", "a=3D{}", '"{}"':
            assert redact(text.format(token)) == text.format("[hidden]")


@pytest.mark.parametrize("link", ["/unsubscribe/{}", "/manage/x/{}", "/manage/\\{}", "/confirm/{}\\", "/manage/{}\n"])
def test_a_line_of_json_stays_json(link: str) -> None:
    stream, said = _logged("json"), f'<a href="https://x.example{link.format(_TOKEN)}"> it\'s'
    try:
        raise ValueError(said)
    except ValueError:
        structlog.get_logger("ours").exception(said, more=[said])
    (line,) = stream.getvalue().splitlines()
    found = json.loads(line)
    assert found["event"].startswith('<a href="https://x.example/')
    assert found["event"].endswith('"> it\'s')
    assert _TOKEN not in line


@pytest.mark.parametrize("text", ["http://127.0.0.1:8025/docs", "GET /confirm/ 404", "bearer of news", "a: b@c"])
def test_the_rest_stays_as_it_is(text: str) -> None:
    assert redact(text) == text
