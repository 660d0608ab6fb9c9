"""Request bodies of the API's documentation: the shipped samples."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from worker.resources import config_dir

_TEXT = {"type": "string"}
# null means that it is not set (json-format.md §2.2)
_MAYBE = {"type": ["string", "null"]}
_ATTRIBUTES: dict[str, Any] = {
    "specversion": {"type": "string", "enum": ["1.0"]},
    "id": _TEXT | {"maxLength": 256, "description": "Yours. The same id again is the same event."},
    "source": _TEXT | {"maxLength": 512, "description": "A URI reference, such as your site's address."},
    "type": _TEXT
    | {
        "description": "One of the five known types; any other is recorded as `ignored`.",
        "examples": [
            "subscriber.created", "subscriber.updated", "subscriber.deleted", "post.published", "post.unpublished",
        ],
    },
    "time": _MAYBE | {"format": "date-time"},
    "subject": _MAYBE,
    "datacontenttype": _MAYBE,
    "data": {"type": ["object", "null"], "description": "By type: docs/events.md has every field."},
}  # fmt: skip


@lru_cache
def sample(name: str) -> dict[str, Any]:
    """A shipped sample event: `post-published` or `subscriber-created`."""
    value: dict[str, Any] = json.loads((config_dir() / "samples" / f"{name}.json").read_text("utf-8"))
    return value


def event_body() -> dict[str, Any]:
    """`openapi_extra` of `POST /v1/events`."""
    samples = {"subscriber.created": sample("subscriber-created"), "post.published": sample("post-published")}
    required = ["specversion", "id", "source", "type"]
    structured = {
        "schema": {"type": "object", "required": required, "properties": _ATTRIBUTES},
        "examples": {name: {"value": value} for name, value in samples.items()},
    }
    binary = {
        "schema": {"type": "object", "description": "The event's `data`; its attributes stand in `ce-…` headers."},
        "examples": {name: {"value": value["data"]} for name, value in samples.items()},
    }
    content = {"application/cloudevents+json": structured, "application/json": binary}
    return {"requestBody": {"required": True, "content": content}, "security": [{"HTTPBearer": []}]}


def source_body() -> dict[str, Any]:
    """`openapi_extra` of `POST /v1/sources/…`."""
    schema = {"type": "object", "description": "What the other system sends."}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
