"""What each known event says in `data`. Strict about types, tolerant of members that are not known."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from worker.domain.errors import FieldProblem, InvalidInput
from worker.domain.network import read_ip

# A person reads the answer: ten problems say as much as a thousand.
_MOST_PROBLEMS = 10
_LINE_END = re.compile("[\r\n\u0085\u2028\u2029\v\f]")
_LOCALE = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{1,8})*")
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


def _one_line(value: str) -> str:
    # it goes into a header: a line end there would begin a header of somebody else's making
    found = _LINE_END.search(value)
    if found:
        # most editors do not show the others, so they are named as they can be searched for
        name = "CR, LF" if found[0] in "\r\n" else f"U+{ord(found[0]):04X}"
        raise ValueError(f"must be one line; take the line end ({name}) out")
    return value


def _said(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be empty")
    return value


def _web_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"[\s\x00-\x20<>\"\\]", value):
        raise ValueError("must be an absolute http:// or https:// URL")
    return value


def _ip(value: str) -> str:
    found = read_ip(value)
    if value and found is None:
        raise ValueError("must be an IPv4 or IPv6 address")
    return "" if found is None else str(found)


def _time(value: object) -> object:
    """RFC 3339 text only: pydantic by itself also takes plain numbers."""
    if value is None:
        return None
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise ValueError("must be an RFC 3339 time such as 2025-02-09T14:05:00Z")
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("must be an RFC 3339 time such as 2025-02-09T14:05:00Z") from None


def _locale(value: str) -> str:
    if value and not _LOCALE.fullmatch(value):
        raise ValueError("must be a language tag such as en or pt-BR")
    return value


def _unset(value: object) -> object:
    return "" if value is None else value


def _none(value: object) -> object:
    return [] if value is None else value


Line = Annotated[str, AfterValidator(_one_line)]
Named = Annotated[Line, AfterValidator(_said)]
Url = Annotated[str, Field(max_length=2048), AfterValidator(_web_url)]
Time = Annotated[AwareDatetime, BeforeValidator(_time)]
# null and "" both mean "not given"
MaybeLine = Annotated[Line, BeforeValidator(_unset)]
MaybeText = Annotated[str, BeforeValidator(_unset)]
MaybeUrl = Annotated[str, Field(max_length=2048), AfterValidator(lambda value: value and _web_url(value)),
                     BeforeValidator(_unset)]  # fmt: skip
Slug = Annotated[str, Field(min_length=1, max_length=64)]
Label = Annotated[Named, Field(max_length=128)]
Labels = Annotated[list[Label], Field(max_length=100), BeforeValidator(_none)]


class _Data(BaseModel):
    # strict: "true" is not true, 7 is not "7"
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class Author(_Data):
    """Who wrote a post; shown in the byline."""

    name: Annotated[Named, Field(max_length=512)]
    image: MaybeUrl = ""
    url: MaybeUrl = ""


class Post(_Data):
    """A post as the reader will see it. `html` is cleaned later; relative links in it are taken from `url`."""

    id: Annotated[Named, Field(max_length=256)]
    title: Annotated[Named, Field(max_length=998)]
    url: Url
    html: MaybeText = ""
    excerpt: MaybeText = ""
    image: MaybeUrl = ""
    image_alt: MaybeText = ""
    published_at: Time | None = None
    tags: Annotated[list[MaybeLine], Field(max_length=100), BeforeValidator(_none)] = []
    authors: Annotated[list[Author], Field(max_length=50), BeforeValidator(_none)] = []


class PostId(_Data):
    """Enough to name a post."""

    id: Annotated[Named, Field(max_length=256)]


class Person(_Data):
    """A reader. `email` is judged by the audience's own rules."""

    email: Annotated[Named, Field(max_length=1000)]
    name: Annotated[MaybeLine, Field(max_length=512)] = ""
    locale: Annotated[str, Field(max_length=35), AfterValidator(_locale), BeforeValidator(_unset)] = ""
    labels: Labels = []


class PersonChange(_Data):
    """What is to be changed of a reader: members that are not there stay as they are."""

    email: Annotated[Named, Field(max_length=1000)]
    new_email: Annotated[Named, Field(max_length=1000)] | None = None
    name: Annotated[Line, Field(max_length=512)] | None = None
    locale: Annotated[str, Field(max_length=35), AfterValidator(_locale)] | None = None
    labels: Annotated[list[Label], Field(max_length=100)] | None = None


class PersonId(_Data):
    """Enough to name a reader."""

    email: Annotated[Named, Field(max_length=1000)]


class ConsentGiven(_Data):
    """The evidence of a consent: when, from where, by which form and wording."""

    at: Time | None = None
    ip: Annotated[str, AfterValidator(_ip), BeforeValidator(_unset)] = ""
    form: Annotated[MaybeText, Field(max_length=1000)] = ""
    wording: Annotated[MaybeText, Field(max_length=10_000)] = ""
    evidence: Annotated[MaybeText, Field(max_length=10_000)] = ""


class _OfPublication(_Data):
    publication: Slug


class PostPublished(_OfPublication):
    """`post.published`"""

    list: Slug | None = None
    labels: Labels = []
    post: Post


class PostUnpublished(_OfPublication):
    """`post.unpublished`"""

    post: PostId


class SubscriberCreated(_OfPublication):
    """`subscriber.created`"""

    lists: Annotated[list[Slug], Field(min_length=1, max_length=100)] | None = None
    subscriber: Person
    consent: ConsentGiven | None = None
    confirmed: bool = False


class SubscriberUpdated(_OfPublication):
    """`subscriber.updated`"""

    subscriber: PersonChange


class SubscriberDeleted(_OfPublication):
    """`subscriber.deleted`"""

    subscriber: PersonId


Payload = TypeVar("Payload", bound=_Data)


def read_payload(model: type[Payload], data: Mapping[str, object]) -> Payload:
    """Raise `InvalidInput` naming each wrong member by its dotted path under `data`."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)[:_MOST_PROBLEMS]
        raise InvalidInput([FieldProblem(_path(one["loc"]), _message(one)) for one in problems]) from None


def _path(location: tuple[int | str, ...]) -> str:
    return ".".join(("data", *(str(part) for part in location)))


_EXPECTED = {
    "missing": "is missing",
    "string_type": "must be a string",
    "bool_type": "must be true or false",
    "list_type": "must be an array",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "datetime_type": "must be an RFC 3339 time such as 2025-02-09T14:05:00Z",
    "timezone_aware": "must name its time zone, such as Z",
}


def _message(problem: Any) -> str:
    kind, context = problem["type"], problem.get("ctx", {})
    # a length that is checked behind a validator of ours is "too_long" for text as well
    if kind == "string_too_long" or (kind == "too_long" and context.get("field_type") == "Value"):
        return f"is too long; {context['max_length']} characters at most"
    if kind == "too_long":
        return f"has too many entries; {context['max_length']} at most"
    if kind in ("string_too_short", "too_short"):
        return "must not be empty"
    return _EXPECTED.get(kind, str(problem["msg"]).removeprefix("Value error, "))
