"""JSON as both databases can hold it: UTF-8, no NUL, no lone surrogates, finite numbers, a bounded depth."""

from __future__ import annotations

import json
import math
from typing import NoReturn

from worker.domain.errors import InvalidInput

# Far beyond any post; a recursive reader must not be led down a well.
MAX_DEPTH = 64

BODY = "body"


def parse_json(raw: bytes, field: str = BODY) -> object:
    """Strict RFC 8259. Raises `InvalidInput` naming the path of what is wrong, `field` for the text itself."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput.of(field, f"is not UTF-8 (byte {error.start}); send JSON in UTF-8") from None
    try:
        value: object = json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise InvalidInput.of(
            field, f"is not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from None
    except RecursionError:
        raise InvalidInput.of(field, _too_deep()) from None
    except ValueError as error:
        # NaN and Infinity by our own hand; Python's for integers of thousands of digits speaks to programmers
        words = "holds a number of thousands of digits" if "digits" in str(error) else f"is not JSON: {error}"
        raise InvalidInput.of(field, words) from None
    check_json(value, "" if field == BODY else field)
    return value


def check_json(value: object, path: str, depth: int = 0) -> None:
    """Raise `InvalidInput` naming the dotted path of a value that cannot be stored."""
    if depth > MAX_DEPTH:
        raise InvalidInput.of(path or BODY, _too_deep())
    if isinstance(value, str):
        check_text(value, path)
    elif isinstance(value, float) and not math.isfinite(value):
        raise InvalidInput.of(path or BODY, "is a number too large to be kept")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            check_json(item, f"{path}.{number}" if path else str(number), depth + 1)
    elif isinstance(value, dict):
        for key, item in value.items():
            below = f"{path}.{printable(key)}" if path else printable(key)
            check_text(key, below)
            check_json(item, below, depth + 1)


def check_text(value: str, path: str) -> None:
    """A NUL cannot be stored by PostgreSQL, a lone surrogate by nobody."""
    if "\0" in value:
        raise InvalidInput.of(path or BODY, "holds a NUL character; take it out")
    if not value.isascii() and any("\ud800" <= one <= "\udfff" for one in value):
        raise InvalidInput.of(path or BODY, "holds a lone surrogate, which is no character; take it out")


def canonical(value: object) -> bytes:
    """One spelling for equal JSON values, whatever the order of their members or the white space between."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode("ascii")


def printable(name: str) -> str:
    """A member's name as it may be shown to people; what cannot be seen is written out."""
    shown = name if name.isprintable() else name.encode("unicode_escape").decode("ascii")
    return shown[:64]


def _too_deep() -> str:
    return f"is nested more than {MAX_DEPTH} levels deep"


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")
