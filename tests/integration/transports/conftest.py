"""Real sockets on both event loops; the scriptable server of `tests.smtpd` at the other end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest
import uvloop

from tests.smtpd import Certificate, Options, Rule, SmtpServer, self_signed
from worker.delivery.transports.smtp import SmtpTransport, smtp_transport

T = TypeVar("T")
Run = Callable[[Coroutine[Any, Any, T]], T]
Serve = Callable[..., AbstractContextManager[SmtpServer]]


class Connect(Protocol):
    def __call__(
        self, url: str, *, timeout: float = 5, connect_timeout: float = 5, limit: int = 100, verify: bool = True,
        ca_file: str = "",
    ) -> SmtpTransport: ...


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Run[Any]]:
    """Runs a coroutine on a loop of either kind."""
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        yield runner.run


@pytest.fixture
def serve() -> Serve:
    @contextmanager
    def start(*rules: Rule, **options: Any) -> Iterator[SmtpServer]:
        with SmtpServer(rules, Options(**options)) as server:
            yield server

    return start


@pytest.fixture
def connect() -> Connect:
    def make(
        url: str, *, timeout: float = 5, connect_timeout: float = 5, limit: int = 100, verify: bool = True,
        ca_file: str = "",
    ) -> SmtpTransport:
        return smtp_transport(
            url, helo="client.example", connect_timeout=connect_timeout, timeout=timeout,
            messages_per_connection=limit, verify=verify, ca_file=ca_file,
        )

    return make


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return self_signed(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def ca_file(certificate: Certificate) -> str:
    return str(Path(certificate.cert))
