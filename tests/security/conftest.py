"""An attacker's day. Unlike the other folders this one mirrors no room of `worker`: an attack goes through several."""

from __future__ import annotations

import socket
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from tests.integration.pages.conftest import desk, link
from tests.integration.web.conftest import config_dir, doorbell, environ, http, system, url

__all__ = ["config_dir", "desk", "doorbell", "environ", "http", "link", "system", "url"]


@pytest.fixture
def wire(url: str) -> Callable[..., bytes]:
    """`wire(b"GET / HTTP/1.1…")`: all that the server answers until it hangs up or has been silent for `patience` s."""
    parts = urlsplit(url)

    def send(*pieces: bytes, patience: float = 1.0) -> bytes:
        answer = b""
        with socket.create_connection((str(parts.hostname), int(parts.port or 0))) as line:
            line.settimeout(patience)
            try:
                for piece in pieces:
                    line.sendall(piece)
                while chunk := line.recv(65_536):
                    answer += chunk
                return answer + HUNG_UP
            except TimeoutError:
                return answer
            except ConnectionError:
                return answer + HUNG_UP

    return send


HUNG_UP = b"<hung up>"
"""What `wire` puts behind an answer after which the server closed the connection."""
