"""The pages and the JSON of the inbox: a list, and each mail as HTML, text, headers and source."""

from __future__ import annotations

import re
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from worker.inbox.queries import Mail, MailBox, parse

PAGE = 50
VIEWS = ("html", "text", "headers", "source")
# A mail is somebody else's HTML: nothing in it may run, be sent, or speak to us.
_MAIL_POLICY = (
    "default-src 'none'; img-src http: https: data:; style-src 'unsafe-inline'; font-src http: https: data:; "
    "sandbox allow-popups allow-popups-to-escape-sandbox"
)
_HEAD = re.compile(r"<head\b[^>]*>", re.IGNORECASE)
_PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-src 'self'; form-action 'self'; base-uri 'none'"


class Pages:
    """The handlers, over one mailbox."""

    def __init__(self, box: MailBox) -> None:
        self._box = box
        self._templates = Environment(
            loader=FileSystemLoader(Path(__file__).parent / "html"), autoescape=True, undefined=StrictUndefined
        )

    def index(self, request: Request) -> Response:
        to, page = request.query_params.get("to", "").strip(), _number(request, "page", 1)
        mails = self._box.newest(to, limit=PAGE, offset=(page - 1) * PAGE)
        total = self._box.total(to)
        return self._page("list.html", mails=mails, to=to, page=page, pages=max(1, -(-total // PAGE)), total=total)

    def mail(self, request: Request) -> Response:
        mail, raw = self._find(request)
        view = request.query_params.get("view", "html")
        if view not in VIEWS:
            raise HTTPException(404, f"there is no view {view!r}; there are {', '.join(VIEWS)}")
        shown = _shown(parse(raw), raw, view)
        return self._page("mail.html", mail=mail, view=view, views=VIEWS, shown=shown)

    def body(self, request: Request) -> Response:
        """The HTML part by itself, for the frame; links open a tab of their own."""
        _, raw = self._find(request)
        html = _part(parse(raw), "html") or "<p>This mail has no HTML part.</p>"
        opening = _HEAD.search(html)
        at = opening.end() if opening else 0
        return HTMLResponse(
            f'{html[:at]}<base target="_blank">{html[at:]}',
            headers={"Content-Security-Policy": _MAIL_POLICY, "Referrer-Policy": "no-referrer"},
        )

    def source(self, request: Request) -> Response:
        mail, raw = self._find(request)
        headers = {"Content-Disposition": f'attachment; filename="mail-{mail.id}.eml"'}
        return Response(raw, media_type="message/rfc822", headers=headers)

    def messages(self, request: Request) -> Response:
        to, limit = request.query_params.get("to", "").strip(), _number(request, "limit", PAGE)
        mails = self._box.newest(to, limit=min(limit, 1000), offset=_number(request, "offset", 0))
        return JSONResponse({"total": self._box.total(to), "messages": [_json(mail) for mail in mails]})

    def message(self, request: Request) -> Response:
        mail, raw = self._find(request)
        message = parse(raw)
        headers = [[name, str(value)] for name, value in message.items()]
        parts = {"headers": headers, "html": _part(message, "html"), "text": _part(message, "plain")}
        return JSONResponse(_json(mail) | parts)

    def _find(self, request: Request) -> tuple[Mail, bytes]:
        found = self._box.get(request.path_params["id"])
        if found is None:
            raise HTTPException(404, "there is no such mail")
        return found

    def _page(self, name: str, **values: Any) -> Response:
        return HTMLResponse(
            self._templates.get_template(name).render(values), headers={"Content-Security-Policy": _PAGE_POLICY}
        )


def create_pages(box: MailBox) -> Starlette:
    """The web application of the inbox."""
    pages = Pages(box)
    routes = [
        Route("/", pages.index),
        Route("/mail/{id:int}", pages.mail),
        Route("/mail/{id:int}/body", pages.body),
        Route("/mail/{id:int}/source", pages.source),
        Route("/api/messages", pages.messages),
        Route("/api/messages/{id:int}", pages.message),
        Route("/favicon.ico", lambda _request: Response(status_code=204)),
        Route("/index.html", lambda _request: RedirectResponse("/")),
    ]
    return Starlette(routes=routes, exception_handlers={HTTPException: _refuse})


def _refuse(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = error.detail if isinstance(error, HTTPException) else "the inbox failed"
    return PlainTextResponse(detail, status)


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise HTTPException(422, f"{name}: found {text!r}; allowed: a number")
    return max(int(text), min(default, 1))


def _shown(message: EmailMessage, raw: bytes, view: str) -> Any:
    if view == "headers":
        return [(name, str(value)) for name, value in message.items()]
    if view == "text":
        return _part(message, "plain") or "This mail has no text part."
    return raw.decode("utf-8", "replace") if view == "source" else ""


def _part(message: EmailMessage, subtype: str) -> str | None:
    for part in message.walk():
        if part.get_content_type() == f"text/{subtype}" and not part.is_attachment():
            return str(part.get_content())
    return None


def _json(mail: Mail) -> dict[str, object]:
    return {
        "id": mail.id, "at": mail.received_at.isoformat(), "from": mail.mail_from, "to": mail.rcpt_to,
        "subject": mail.subject, "message_id": mail.message_id,
    }  # fmt: skip
