"""The table of destinations: which domains are one mailbox provider, and what it takes."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from worker.delivery.throttling.base import Limit
from worker.delivery.transports.choice import TlsPolicy
from worker.domain.errors import ConfigurationError

# What domains are compared as: lower case, IDN as A-labels.
_DOMAIN = r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
_NAME = r"^[a-z0-9][a-z0-9_-]{0,31}$"


@dataclass(frozen=True, slots=True)
class Destination:
    """One mailbox provider. `connections`, `messages_per_connection` and `tls` are for going to its MX, 0 and empty: no
    figure; they hold for any domain all of whose mail servers' names end with one of `mx`, too. `pause` is in seconds,
    after a reply that throttles and says no time; `pauses` has others by its words.
    """

    name: str
    domains: tuple[str, ...]
    limit: Limit | None
    connections: int
    messages_per_connection: int
    tls: str = ""
    pause: float = 0.0
    pauses: tuple[tuple[str, float], ...] = ()
    mx: tuple[str, ...] = ()


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _RateFile(_Strict):
    count: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0


class _GroupFile(_Strict):
    domains: Annotated[list[Annotated[str, Field(pattern=_DOMAIN)]], Field(min_length=1)]
    mx: Annotated[list[Annotated[str, Field(pattern=_DOMAIN)]], Field(min_length=1)] = []
    limit: _RateFile | None = None
    connections: Annotated[int, Field(ge=0)] = 0
    messages_per_connection: Annotated[int, Field(ge=0)] = 0
    tls: TlsPolicy | None = None
    pause: Annotated[float, Field(ge=0, le=86_400)] = 0.0
    pauses: dict[Annotated[str, Field(min_length=1)], Annotated[float, Field(gt=0, le=86_400)]] = {}


class _ShapingFile(_Strict):
    destinations: dict[Annotated[str, Field(pattern=_NAME)], _GroupFile] = {}


class Shaping:
    """All destinations that have a name; a domain that none lists has no limit of its own."""

    def __init__(self, groups: tuple[Destination, ...]) -> None:
        self.groups = groups
        self._names: Mapping[str, str] = {domain: group.name for group in groups for domain in group.domains}
        self._ends: Mapping[str, str] = {end: group.name for group in groups for end in group.mx}

    @classmethod
    def load(cls, path: Path) -> Shaping:
        """Read `shaping.toml`. Raises `ConfigurationError` naming the file, the key, what was found and is allowed."""
        try:
            found = _ShapingFile.model_validate(tomllib.loads(path.read_text("utf-8")))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigurationError(f"{path}: cannot be read: {error}") from None
        except ValidationError as error:
            raise ConfigurationError(_explain(path, error)) from None
        _check_once(path, found, "domains")
        _check_once(path, found, "mx")
        return cls(tuple(_destination(name, group) for name, group in found.destinations.items()))

    def group_of(self, domain: str) -> str:
        """The destination's name for the domain of an address (A-labels), or empty."""
        return self._names.get(domain.lower(), "")

    def group_of_servers(self, names: Sequence[str]) -> str:
        """The destination whose mail servers all of these are, by the ends of their names, or empty."""
        found = {self._by_end(name.lower()) for name in names}
        return found.pop() if len(found) == 1 else ""

    def _by_end(self, name: str) -> str:
        ends = [end for end in self._ends if f".{name}".endswith(f".{end}")]
        return self._ends[max(ends, key=len)] if ends else ""


def _destination(name: str, group: _GroupFile) -> Destination:
    rate = group.limit
    limit = None if rate is None else Limit(f"destination:{name}", rate.count, rate.seconds)
    return Destination(
        name, tuple(group.domains), limit, group.connections, group.messages_per_connection, group.tls or "",
        group.pause, tuple(group.pauses.items()), tuple(group.mx),
    )  # fmt: skip


def _check_once(path: Path, found: _ShapingFile, key: Literal["domains", "mx"]) -> None:
    seen: dict[str, str] = {}
    for name, group in found.destinations.items():
        for domain in getattr(group, key):
            if domain in seen:
                raise ConfigurationError(
                    f"{path}: destinations.{name}.{key}: found {domain!r}, which destinations.{seen[domain]} lists "
                    "too; allowed: each domain once"
                )
            seen[domain] = name


def _explain(path: Path, error: ValidationError) -> str:
    lines = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"] if part != "[key]")
        if problem["type"] == "extra_forbidden":
            lines.append(f"{path}: {key}: there is no such key")
        elif problem["type"] == "missing":
            lines.append(f"{path}: {key}: is missing")
        else:
            lines.append(f"{path}: {key}: found {problem['input']!r}; allowed: {_allowed(problem['msg'], key)}")
    return "\n".join(lines)


def _allowed(message: str, key: str) -> str:
    if "match pattern" in message:
        of_domains = ".domains" in key or ".mx" in key
        return "domains in lower case, such as 'gmail.com'" if of_domains else "names such as 'google'"
    return message.removeprefix("Input should be ")
