"""CloudEvents 1.0 over HTTP, structured and binary mode (cloudevents/spec v1.0.2, `http-protocol-binding.md`).

Own code, since the SDK takes overlong percent-encodings, keeps quotes, defaults a missing `specversion`,
lets `ce-datacontenttype` override `Content-Type` and refuses null.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from worker.domain.errors import FieldProblem, InvalidInput
from worker.domain.events import Event
from worker.intake.headers import attribute_value, media_type
from worker.intake.jsontext import BODY, check_text, parse_json, printable

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch"
SPECVERSION = "1.0"

# The widths of the columns that keep them; names as in the specification.
MAX_LENGTH = {"id": 256, "source": 512, "type": 256, "subject": 1024}
_REQUIRED = ("id", "source", "type")
_KNOWN = frozenset({"specversion", "id", "source", "type", "time", "subject", "datacontenttype", "dataschema"})
_NAME = re.compile(r"[a-z0-9]{1,64}")
_JSON_TYPE = re.compile(r"(application|text)/json|[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+\+json")
# RFC 3339 §5.6, which is narrower than what `fromisoformat` takes
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)")
_MEDIA = re.compile(r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+\s*(;.*)?")
_CONTROL = re.compile("[\u0000-\u001f\u007f-\u009f]")
# RFC 3986 allows none of these in a URI reference; letters beyond ASCII are let pass as IRIs
_NOT_URI = re.compile(r'[\s<>"\\^`{|}]')


class UnsupportedMedia(InvalidInput):
    """The body is of a kind that is not taken here."""


def parse_event(headers: Iterable[tuple[str, str]], body: bytes) -> Event:
    """One event out of a request. `headers` as they came, decoded as Latin-1, names in any case.

    Raises `InvalidInput` naming the attribute or `content-type`; `UnsupportedMedia` for batches and other
    formats. Header attributes are named as in the event (`id`, not `ce-id`).
    """
    given = [(name.lower(), value) for name, value in headers]
    content_type = next((value for name, value in given if name == "content-type"), "")
    kind, charset = media_type(content_type)
    if charset not in ("", "utf-8", "utf8", "us-ascii"):
        raise _unsupported(f"charset {charset[:40]!r} is not taken; send UTF-8")
    if kind.startswith(BATCH):
        raise _unsupported("batches are not taken; send one event in a request")
    if kind == STRUCTURED:
        return event_of(parse_json(body))
    if kind.startswith("application/cloudevents"):
        raise _unsupported(f"{kind[:100]} is not taken; send {STRUCTURED}")
    if any(name.startswith("ce-") for name, _ in given):
        return _binary(given, kind, body)
    if kind == "application/json":
        # Many systems cannot set the media type of their webhooks: a whole event in the body is one all the same.
        return event_of(parse_json(body))
    raise _unsupported(f"{kind[:100] or 'no type'} is not taken; send {STRUCTURED}, or the attributes as ce-… headers")


def event_of(value: object) -> Event:
    """An event in the JSON format (`json-format.md` §3), parsed. Raises `InvalidInput`."""
    if not isinstance(value, dict):
        raise InvalidInput.of(BODY, "must be one JSON object: a CloudEvent")
    # null means that it is not set (json-format.md §2.2)
    members: dict[str, object] = {name: one for name, one in value.items() if one is not None}
    data = members.pop("data", None)
    encoded = members.pop("data_base64", None)
    attributes = _attributes(members)
    if encoded is not None:
        if data is not None:
            raise InvalidInput.of("data_base64", "stands beside data; give one of the two")
        data = _decoded(encoded, str(attributes.get("datacontenttype", "application/json")))
    return _event(attributes, data)


def _binary(headers: list[tuple[str, str]], kind: str, body: bytes) -> Event:
    attributes: dict[str, object] = {}
    for name, value in headers:
        # Content-Type says what the data is; a ce-datacontenttype beside it says nothing
        if not name.startswith("ce-") or name == "ce-datacontenttype":
            continue
        attribute = name.removeprefix("ce-")
        if attribute in attributes:
            raise InvalidInput.of(attribute, "is given twice")
        attributes[attribute] = attribute_value(attribute, value)
    if "specversion" not in attributes:
        raise InvalidInput.of(
            "specversion",
            f"is missing; send a whole event as Content-Type: {STRUCTURED}, or its attributes as ce-… headers",
        )
    if body and not _JSON_TYPE.fullmatch(kind):
        raise _unsupported(f"{kind[:100] or 'no type'} is not taken for data; send application/json")
    return _event(_attributes(attributes), parse_json(body, "data") if body else None)


def _attributes(members: Mapping[str, object]) -> Mapping[str, object]:
    """The context attributes, each of a type that the specification allows (`spec.md`, Type System)."""
    for name, value in members.items():
        if not _NAME.fullmatch(name) or name == "data":
            raise InvalidInput.of(printable(name) or BODY, "is no attribute name; allowed are a-z and 0-9")
        if name in _KNOWN and not isinstance(value, str):
            raise InvalidInput.of(name, f"must be a string, not {_json_name(value)}")
        if not isinstance(value, str | bool | int):
            raise InvalidInput.of(name, f"must be a string, a boolean or an integer, not {_json_name(value)}")
        if isinstance(value, str):
            check_text(value, name)
            if _CONTROL.search(value):
                raise InvalidInput.of(name, "holds a control character or a line end; take it out")
    return members


def _event(attributes: Mapping[str, object], data: object) -> Event:
    if "specversion" not in attributes:
        raise InvalidInput.of("specversion", f'is missing; it must be "{SPECVERSION}"')
    if attributes["specversion"] != SPECVERSION:
        raise InvalidInput.of("specversion", f'must be "{SPECVERSION}"; no other version is taken')
    words = {name: _text(attributes, name) for name in (*_REQUIRED, "subject", "dataschema", "datacontenttype")}
    if _NOT_URI.search(words["source"]):
        raise InvalidInput.of("source", "must be a URI reference such as https://blog.example, without spaces")
    if words["datacontenttype"] and not _MEDIA.fullmatch(words["datacontenttype"]):
        raise InvalidInput.of("datacontenttype", "must be a media type such as application/json")
    if data is not None and not isinstance(data, dict):
        raise InvalidInput.of("data", f"must be a JSON object, not {_json_name(data)}")
    return Event(
        id=words["id"], source=words["source"], type=words["type"], data=data or {},
        time=_time(attributes.get("time")), subject=words["subject"] or None,
    )  # fmt: skip


def _text(attributes: Mapping[str, object], name: str) -> str:
    """Required ones must be there; any that is there must not be empty, nor longer than can be kept."""
    value = attributes.get(name)
    if value is None and name not in _REQUIRED:
        return ""
    if value is None:
        raise InvalidInput.of(name, "is missing")
    text = str(value)
    if not text:
        raise InvalidInput.of(name, "must not be empty")
    allowed = MAX_LENGTH.get(name, 1024)
    if len(text) > allowed:
        raise InvalidInput.of(name, f"is {len(text)} characters long; {allowed} at most")
    return text


def _time(value: object) -> datetime | None:
    if value is None:
        return None
    try:
        if not _TIME.fullmatch(str(value)):
            raise ValueError
        return datetime.fromisoformat(str(value).upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidInput.of("time", "must be an RFC 3339 time such as 2025-02-09T14:05:00Z") from None


def _decoded(encoded: object, content_type: str) -> object:
    if not isinstance(encoded, str):
        raise InvalidInput.of("data_base64", f"must be a string, not {_json_name(encoded)}")
    try:
        raw = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidInput.of("data_base64", "is not base64") from None
    if not _JSON_TYPE.fullmatch(media_type(content_type)[0]):
        raise InvalidInput.of("datacontenttype", "must be application/json; no other data is taken")
    return parse_json(raw, "data")


def _json_name(value: object) -> str:
    names: tuple[tuple[type, str], ...] = (
        (bool, "a boolean"), (int, "a number"), (float, "a number"), (str, "a string"), (list, "an array"),
    )  # fmt: skip
    return next((name for kind, name in names if isinstance(value, kind)), "an object")


def _unsupported(message: str) -> UnsupportedMedia:
    return UnsupportedMedia([FieldProblem("content-type", message)])
