"""What a form or a fetch sends, as fields: urlencoded, multipart or JSON, bounded while it is read."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from urllib.parse import parse_qs

from python_multipart.exceptions import FormParserError
from starlette.datastructures import Headers
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from worker.domain.errors import InvalidInput

# A form of ours has a few hundred bytes.
MAX_BYTES = 65_536
_MAX_FIELDS = 200

Fields = Mapping[str, list[str]]


def is_json(request: Request) -> bool:
    """Whether the body is announced as JSON."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return media_type == "application/json" or (media_type.startswith("application/") and media_type.endswith("+json"))


def wants_json(request: Request) -> bool:
    """A fetch with JSON gets JSON; so does one that asks for it and not for a page."""
    accept = request.headers.get("accept", "").lower()
    return is_json(request) or ("application/json" in accept and "text/html" not in accept)


async def read_fields(request: Request) -> Fields:
    """Every field as the list of its values, text only. Raises `InvalidInput` naming `body` or the field."""
    body = await _read(request)
    content_type = request.headers.get("content-type", "").lower()
    if is_json(request):
        return _from_json(body)
    if content_type.startswith("multipart/form-data"):
        return await _from_multipart(request.headers, body)
    try:
        return parse_qs(body.decode("utf-8"), keep_blank_values=True, max_num_fields=_MAX_FIELDS, errors="strict")
    except ValueError:
        raise InvalidInput.of("body", "must be a form in UTF-8") from None


def first(fields: Fields, name: str) -> str:
    """The field's first value without the spaces around it; empty where it is missing."""
    values = fields.get(name)
    return values[0].strip(" ") if values else ""


async def _read(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            raise InvalidInput.of("body", f"is larger than {MAX_BYTES} bytes")
    return bytes(body)


def _from_json(body: bytes) -> Fields:
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidInput.of("body", "is not JSON") from None
    if not isinstance(data, dict):
        raise InvalidInput.of("body", "must be a JSON object")
    for name in data:
        if not name.isprintable():
            raise InvalidInput.of("body", "has a member whose name cannot be printed")
    return {name: _texts(name, value) for name, value in data.items()}


def _texts(name: str, value: object) -> list[str]:
    found = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(one, str) for one in found):
        raise InvalidInput.of(name, "must be a string, or an array of strings")
    return list(found)


async def _from_multipart(headers: Headers, body: bytes) -> Fields:
    async def whole() -> AsyncGenerator[bytes, None]:
        yield body

    parser = MultiPartParser(headers, whole(), max_files=0, max_fields=_MAX_FIELDS)
    try:
        form = await parser.parse()
    except (MultiPartException, FormParserError, ValueError, KeyError, LookupError):
        raise InvalidInput.of("body", "is not a form that can be read") from None
    fields: dict[str, list[str]] = {}
    for name, value in form.multi_items():
        fields.setdefault(name, []).append(str(value))
    return fields
