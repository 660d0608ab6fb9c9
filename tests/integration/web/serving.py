"""A real HTTP server over a real database, in a thread of the test's process."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import uvicorn
from starlette.applications import Starlette

from worker.web.patience import patient_for


@contextlib.contextmanager
def serving(app: Starlette, request_seconds: float = 30) -> Iterator[str]:
    """The base URL of `app` on a free port of the loopback, served as `pressrun part api` does it."""
    options: dict[str, Any] = {"http": patient_for(request_seconds), "ws": "none"}
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, proxy_headers=False, server_header=False, **options))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + 10
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            assert time.monotonic() < deadline, "the server did not start in time"
            time.sleep(0.005)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(10)
