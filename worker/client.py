"""A small client for publishers: events in, and what became of them.

    client = Client("https://mail.example", secret="whsec_…", token="…")
    client.emit(event("post.published", "https://blog.example", {"publication": "daily", "post": {…}}))
"""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import quote

import httpx

from worker.domain.errors import FieldProblem, InvalidInput, PermanentError, TemporaryError
from worker.intake.cloudevents import STRUCTURED
from worker.intake.signatures import sign

TIMEOUT_SECONDS = 15.0
# Five tries within some 7 s: a restart of the service is outlasted, a caller is not held for long.
ATTEMPTS = 5
FIRST_WAIT_SECONDS = 0.5
_AGAIN = frozenset({429, 500, 502, 503, 504})


class RequestFailed(PermanentError):
    """The service said no. `problems` names each field; `status` is the HTTP status."""

    def __init__(self, status: int, detail: str, problems: Sequence[FieldProblem] = ()) -> None:
        self.status = status
        self.problems = tuple(problems)
        super().__init__(f"{status}: {detail}")


class Refused(RequestFailed):
    """401: the token or the signature."""


class Invalid(RequestFailed):
    """413, 415, 422: what was sent; nothing was changed."""


class Missing(RequestFailed):
    """404."""


class Contradiction(RequestFailed):
    """409: the same event id with another body, or a move that a campaign's status does not allow."""


class Unreachable(TemporaryError):
    """No answer, or only 5xx, in all tries. Whether the event arrived is unknown: emit the same one again."""


_KINDS: Mapping[int, type[RequestFailed]] = {
    401: Refused, 404: Missing, 409: Contradiction, 413: Invalid, 415: Invalid, 422: Invalid,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Receipt:
    """`status` is `accepted`, `duplicate` or `ignored`; `note` says in words what came of it."""

    id: str
    status: str
    note: str


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to be emitted. Its id makes it the same event however often it is sent: keep it, or derive it."""

    type: str
    source: str
    data: Mapping[str, object]
    id: str = field(default_factory=lambda: secrets.token_hex(16))
    time: str | None = None
    subject: str | None = None

    def body(self) -> bytes:
        """The event in the JSON format of CloudEvents."""
        members = {
            "specversion": "1.0", "id": self.id, "source": self.source, "type": self.type, "time": self.time,
            "subject": self.subject, "datacontenttype": "application/json", "data": self.data,
        }  # fmt: skip
        return json.dumps({name: one for name, one in members.items() if one is not None}).encode()


class Client:
    """Speaks for one publication. `secret` (`whsec_…`) signs events, else `token` goes with them; looking things
    up and control need `token`. Raises `RequestFailed` and its kinds, `Unreachable`.
    """

    def __init__(
        self, url: str, *, token: str | None = None, secret: str | None = None, timeout: float = TIMEOUT_SECONDS,
        sleep: Callable[[float], None] = time.sleep, now: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        if token is None and secret is None:
            raise InvalidInput.of("token", "is missing; give a token, a secret, or both")
        self._token = token
        self._secret = None if secret is None else _key(secret)
        self._sleep = sleep
        self._now = now
        # what answers with a redirect is not the service, and is not told the token
        self._http = httpx.Client(base_url=url.rstrip("/"), timeout=timeout, follow_redirects=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def emit(self, event: NewEvent | Mapping[str, object]) -> Receipt:
        """Hand in an event, or a whole CloudEvent as a mapping. Tries again, with the same id, on 5xx and silence."""
        body = event.body() if isinstance(event, NewEvent) else json.dumps(dict(event)).encode()
        answer = self._send("POST", "/v1/events", body)
        return Receipt(answer["id"], answer["status"], answer.get("note", ""))

    def event(self, event_id: str, source: str | None = None) -> dict[str, Any]:
        """What became of an event."""
        query = {} if source is None else {"source": source}
        return self._object("GET", f"/v1/events/{quote(event_id, safe='')}", query)

    def campaign(self, campaign_id: int) -> dict[str, Any]:
        """A campaign and its counts, as in `pressrun status --json`."""
        return self._object("GET", f"/v1/campaigns/{campaign_id}")

    def deliveries(self, campaign_id: int, status: str | None = None) -> Iterator[dict[str, Any]]:
        """A campaign's deliveries by id, fetched page by page."""
        query = {"limit": "1000"} if status is None else {"limit": "1000", "status": status}
        after = 0
        while page := self._send("GET", f"/v1/campaigns/{campaign_id}/deliveries", query=query | {"after": str(after)}):
            yield from page
            after = page[-1]["id"]

    def delivery(self, delivery_id: int) -> dict[str, Any]:
        """One delivery with its attempts."""
        return self._object("GET", f"/v1/deliveries/{delivery_id}")

    def pause(self, campaign_id: int) -> dict[str, Any]:
        return self._object("POST", f"/v1/campaigns/{campaign_id}/pause")

    def resume(self, campaign_id: int) -> dict[str, Any]:
        """Go on, or release a campaign that is held."""
        return self._object("POST", f"/v1/campaigns/{campaign_id}/resume")

    def cancel(self, campaign_id: int) -> dict[str, Any]:
        return self._object("POST", f"/v1/campaigns/{campaign_id}/cancel")

    def retry(self, campaign_id: int, status: str = "failed") -> dict[str, Any]:
        """Send again to those that ended with `status`."""
        return self._object("POST", f"/v1/campaigns/{campaign_id}/retry", {"status": status})

    def _object(self, method: str, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        answer: dict[str, Any] = self._send(method, path, query=query)
        return answer

    def _send(self, method: str, path: str, body: bytes = b"", query: Mapping[str, str] | None = None) -> Any:
        # control moves things, so only looks and events, which have an id, are sent again
        attempts = ATTEMPTS if method == "GET" or body else 1
        said = ""
        for attempt in range(attempts):
            if attempt:
                self._sleep(FIRST_WAIT_SECONDS * 2 ** (attempt - 1))
            try:
                answer = self._http.request(method, path, params=query, content=body, headers=self._headers(body))
            except httpx.TransportError as error:
                said = str(error) or type(error).__name__
                continue
            if answer.status_code not in _AGAIN:
                return _read(answer)
            said = f"it answered {answer.status_code}"
        raise Unreachable(f"{self._http.base_url}: {said} ({attempts} tries)")

    def _headers(self, body: bytes) -> dict[str, str]:
        """Signed anew for each try, since a signature ages."""
        if not body:
            return self._bearer()
        headers = {"Content-Type": STRUCTURED}
        if self._secret is None:
            return headers | self._bearer()
        message_id, timestamp = f"msg_{secrets.token_hex(12)}", int(self._now())
        return headers | {
            "webhook-id": message_id, "webhook-timestamp": str(timestamp),
            "webhook-signature": sign(self._secret, message_id, timestamp, body),
        }  # fmt: skip

    def _bearer(self) -> dict[str, str]:
        if self._token is None:
            raise InvalidInput.of("token", "is missing; a secret signs events, everything else needs a token")
        return {"Authorization": f"Bearer {self._token}"}


def _key(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError:
        raise InvalidInput.of("secret", "must be `whsec_` and base64") from None


def _read(answer: httpx.Response) -> Any:
    try:
        said = answer.json()
    except ValueError:
        said = None
    if answer.is_success and said is not None:
        return said
    problem = said if isinstance(said, dict) else {}
    problems = [FieldProblem(one["field"], one["message"]) for one in problem.get("errors", ())]
    detail = problem.get("detail") or f"{answer.reason_phrase}, without an explanation"
    raise _KINDS.get(answer.status_code, RequestFailed)(answer.status_code, detail, problems)
