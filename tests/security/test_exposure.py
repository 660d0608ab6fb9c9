"""What shows itself without a password: metrics, Flower, errors, logs. A whole run: `faults/test_promise_10.py`."""

from __future__ import annotations

import io
import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.integration.cli.command import environment, run
from tests.ledger import seed_campaign
from tests.running import Running, wait_until
from tests.servers import free_port
from tests.unit.intake.making import TOKEN
from worker.bootstrap import System
from worker.domain.errors import ConfigurationError
from worker.logs import configure_logging
from worker.settings import load_settings
from worker.web.access import _is_of_this_host

METRICS_TOKEN = "a-token-for-metrics"
GUARDED = {"PRESSRUN_METRICS_TOKEN": METRICS_TOKEN}

# -- metrics


@pytest.mark.parametrize("backend", ["sqlite"])
@pytest.mark.parametrize(
    "header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via", "X-Forwarded-Host"]
)
def test_a_stranger_behind_a_proxy_of_this_host_sees_no_metrics(http: httpx.Client, header: str) -> None:
    """Whatever address the header claims: that it is there at all says that somebody else asks."""
    for claimed in ("203.0.113.7", "127.0.0.1", "", "for=127.0.0.1"):
        answer = http.get("/metrics", headers={header: claimed, "Host": "localhost"})
        assert (answer.status_code, "PRESSRUN_METRICS_TOKEN" in answer.text) == (401, True)
    assert http.get("/metrics").status_code == 200


@pytest.mark.parametrize("peer", ["203.0.113.7", "10.0.0.7", "172.17.0.1", "::ffff:192.0.2.1", "fe80::1%lo", "", "x"])
def test_another_host_sees_no_metrics(peer: str) -> None:
    from starlette.requests import Request

    def request(host: str) -> Request:
        return Request({"type": "http", "headers": [], "client": (host, 1), "method": "GET", "path": "/metrics"})

    assert not _is_of_this_host(request(peer))
    assert all(_is_of_this_host(request(own)) for own in ("127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"))


@pytest.mark.parametrize("backend", ["sqlite"])
@pytest.mark.parametrize("environ", [GUARDED])
def test_metrics_with_a_token_are_for_its_holder(http: httpx.Client) -> None:
    """Neither this host nor a publication's own token is enough then."""
    for authorization in ("", f"Bearer {TOKEN}", f"Bearer {METRICS_TOKEN}x", f"Basic {METRICS_TOKEN}", "Bearer"):
        assert http.get("/metrics", headers={"Authorization": authorization}).status_code == 401
    given = {"Authorization": f"Bearer {METRICS_TOKEN}", "X-Forwarded-For": "203.0.113.7"}
    assert http.get("/metrics", headers=given).status_code == 200
    assert http.get("/v1/campaigns/1", headers=given).status_code == 401


@pytest.mark.parametrize("backend", ["sqlite"])
def test_metrics_and_health_tell_of_no_reader(http: httpx.Client, system: System) -> None:
    seed_campaign(system.database, system.clock.now(), 3)
    for path in ("/metrics", "/healthz", "/readyz"):
        text = http.get(path).text
        assert "@" not in text
        assert str(system.settings.var_dir) not in text


def test_a_token_that_could_be_guessed_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"PRESSRUN_METRICS_TOKEN: found \(hidden\); allowed: 16 characters"):
        load_settings({"PRESSRUN_METRICS_TOKEN": "short"})


# -- Flower


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "mail.blog.example"])
def test_flower_beyond_this_host_needs_a_password(tmp_path: Path, host: str) -> None:
    """Started by itself, as the compose file does it; `up` refuses in `integration/cli/test_up.py`."""
    done = run(environment(tmp_path, PRESSRUN_FLOWER_HOST=host), "part", "flower")
    assert done.returncode != 0
    assert "PRESSRUN_FLOWER_PASSWORD: found nothing" in done.stderr + done.stdout


@pytest.fixture
def flower(tmp_path: Path, redis_url: str) -> Iterator[str]:
    port = free_port()
    running = Running(tmp_path, {
        "PRESSRUN_REDIS_URL": redis_url, "PRESSRUN_FLOWER_PORT": str(port), "PRESSRUN_FLOWER_PASSWORD": "open sesame",
    })  # fmt: skip
    running.start("flower")
    try:
        wait_until(lambda: _listens(port), 40, lambda: running.log("flower"))
        yield f"http://127.0.0.1:{port}"
    finally:
        running.close()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


SHOWN = [
    "/", "/workers", "/tasks", "/broker", "/worker/bulk@x", "/task/1", "/tasks/datatable", "/api/workers", "/api/tasks",
    "/api/queues/length", "/api/task/types", "/api/task/info/1",
]  # fmt: skip
DONE = [
    "/api/worker/shutdown/bulk@x", "/api/worker/pool/restart/bulk@x", "/api/worker/queue/cancel-consumer/bulk@x",
    "/api/task/async-apply/worker.tasks.sweep", "/api/task/send-task/x", "/api/task/revoke/1",
]  # fmt: skip


def test_flower_shows_and_does_nothing_without_its_password(flower: str) -> None:
    with httpx.Client(base_url=flower, timeout=20) as client:
        for auth in (None, ("pressrun", "guessed"), ("", ""), ("admin", "open sesame")):
            assert {client.get(path, auth=auth).status_code for path in SHOWN} == {401}
            assert {client.post(path, auth=auth).status_code for path in DONE} == {401}  # type: ignore[arg-type]
        assert client.get("/workers", auth=("pressrun", "open sesame")).status_code == 200
        for path in ("/metrics", "/healthcheck"):
            # these two need none; names of workers and tasks are all they tell
            assert "@example" not in client.get(path).text


# -- errors and logs

SECRETS = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "Bearer a-token-nobody-may-see", "smtp://user:hunter2@relay.example"]


@pytest.mark.parametrize("backend", ["sqlite"])
@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("form", ["json", "console"])
def test_a_traceback_tells_no_secret(
    http: httpx.Client, system: System, monkeypatch: pytest.MonkeyPatch, secret: str, form: str
) -> None:
    written = io.StringIO()
    root = logging.getLogger()
    before = list(root.handlers)
    configure_logging("json" if form == "json" else "console", "DEBUG", written)
    try:
        def fail(*_: object) -> None:
            try:
                raise ValueError(secret)
            except ValueError as error:
                raise RuntimeError(f"cannot go on with {secret}") from error

        monkeypatch.setattr(system.intake, "receive", fail)
        answer = http.post("/v1/events", content=b'{"specversion":"1.0","id":"1","source":"x","type":"y"}',
                           headers={"Content-Type": "application/json"})  # fmt: skip
        wait_until(lambda: "RuntimeError" in written.getvalue(), 10)
    finally:
        root.handlers[:] = before
    assert answer.status_code == 500
    hidden = secret.rpartition(" ")[2].removeprefix("smtp://user:").removesuffix("@relay.example")
    assert hidden not in answer.text
    assert hidden not in written.getvalue()
    assert "Traceback" not in answer.text
