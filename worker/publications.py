"""Publications: `config/publications/<slug>.toml` checked and joined with the secrets of the environment."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from worker.bounds import MIN_TOKEN, Count, Hours, Rate
from worker.domain.errors import ConfigurationError
from worker.domain.publication import Brand, MailingList, Publication, Sender, WarmupStart
from worker.domain.warmup import checked_schedule

# Slugs stand in URLs, file names and, with dashes as underscores, in names of environment variables.
_SLUG = r"^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$"
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
_DOMAIN = rf"{_LABEL}(\.{_LABEL})+"
_EMAIL = rf"[A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~-]+@{_DOMAIN}"
_SECRET_BYTES = range(24, 65)


def _one_line(value: str) -> str:
    # These words go into mail headers: a line end there would be a header of somebody else's making.
    if not value.isprintable():
        raise ValueError("one line of printable text")
    return value


def _web_url(value: str) -> str:
    if value and not re.match(r"https?://[^\s/]+", value):
        raise ValueError("an absolute http:// or https:// URL")
    return _one_line(value)


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("a time zone such as 'Europe/Madrid' or 'UTC'") from None
    return value


def _date(value: object) -> object:
    # TOML has dates of its own; one in quotes means the same, one with a time of day does not
    try:
        found = date.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        found = None
    if type(found) is not date:
        raise ValueError("a date such as 2025-03-01")
    return found


Line = Annotated[str, AfterValidator(_one_line)]
Url = Annotated[str, AfterValidator(_web_url)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, str_strip_whitespace=True)


class _SenderFile(_Strict):
    name: Annotated[Line, Field(min_length=1)]
    email: Annotated[str, Field(pattern=f"^{_EMAIL}$")]
    reply_to: Annotated[str, Field(pattern=f"^({_EMAIL})?$")] = ""
    bounce_domain: Annotated[str, Field(pattern=f"^({_DOMAIN})?$")] = ""


class _BrandFile(_Strict):
    url: Annotated[Url, Field(min_length=1)]
    logo: Url = ""
    color: Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")] = "#1a56db"
    postal_address: Annotated[str, Field(min_length=1)]
    language: Annotated[str, Field(pattern=r"^[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*$")] = "en"


class _ListFile(_Strict):
    slug: Annotated[str, Field(pattern=_SLUG)]
    name: Annotated[Line, Field(min_length=1)]
    description: Line = ""


class _WarmupFile(_Strict):
    start: Annotated[date, BeforeValidator(_date)]
    schedule: Annotated[list[int], AfterValidator(checked_schedule)] | None = None


class _File(_Strict):
    name: Annotated[Line, Field(min_length=1)]
    timezone: Annotated[str, AfterValidator(_zone)] = "UTC"
    post_body: Literal["full", "excerpt"] = "full"
    welcome: bool = False
    templates: str = ""
    limit_per_second: Annotated[Rate, Field(strict=False)] | None = None
    campaigns_per_hour: Count | None = None
    post_max_age_hours: Annotated[Hours, Field(strict=False)] | None = None
    token_sha256: list[Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]] = Field(default_factory=list)
    warmup: _WarmupFile | None = None
    sender: _SenderFile
    brand: _BrandFile
    lists: Annotated[list[_ListFile], Field(min_length=1)]


def load_publications(config_dir: Path, environ: Mapping[str, str]) -> dict[str, Publication]:
    """Every publication by slug, in the order of their file names.

    Raises `ConfigurationError` naming the file, the key, what was found and what is allowed.
    """
    folder = config_dir / "publications"
    loaded = {path.stem: _load(path, environ) for path in sorted(folder.glob("*.toml"))}
    if not loaded:
        raise ConfigurationError(f"{folder}: holds no publication; add a file such as daily.toml")
    _refuse_twins(loaded)
    _refuse_two_warmups(loaded.values())
    return loaded


def secret_names(slug: str) -> tuple[str, str, str]:
    """The environment variables of a publication: bearer token, webhook secret, Ghost's secret."""
    prefix = "PRESSRUN_" + slug.upper().replace("-", "_")
    return f"{prefix}_TOKEN", f"{prefix}_SECRET", f"{prefix}_GHOST_SECRET"


def _load(path: Path, environ: Mapping[str, str]) -> Publication:
    if not re.fullmatch(_SLUG, path.stem):
        raise ConfigurationError(
            f"{path.name}: the file's name is the publication's slug; allowed: small letters, digits and dashes"
        )
    try:
        file = _File.model_validate(tomllib.loads(path.read_text("utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read: {error}") from None
    except ValidationError as error:
        raise ConfigurationError("\n".join(_explain(error, path))) from None
    return _publication(path, file, environ)


def _publication(path: Path, file: _File, environ: Mapping[str, str]) -> Publication:
    slugs = [one.slug for one in file.lists]
    if len(set(slugs)) != len(slugs):
        raise ConfigurationError(f"{path.name}: lists.slug: found {slugs!r}; allowed: each slug once")
    token, secret, ghost = secret_names(path.stem)
    return Publication(
        slug=path.stem,
        name=file.name,
        sender=Sender(**file.sender.model_dump()),
        brand=Brand(**file.brand.model_dump()),
        lists=tuple(MailingList(one.slug, one.name, one.description) for one in file.lists),
        timezone=ZoneInfo(file.timezone),
        post_body=file.post_body,
        welcome=file.welcome,
        limit_per_second=file.limit_per_second,
        campaigns_per_hour=file.campaigns_per_hour,
        post_max_age_hours=file.post_max_age_hours,
        warmup=None if file.warmup is None else _warmup(file.warmup),
        token_hashes=(*file.token_sha256, *(_token_hash(one, token) for one in _split(environ, token))),
        signing_secrets=tuple(_signing_secret(one, secret) for one in _split(environ, secret)),
        ghost_secrets=tuple(_split(environ, ghost)),
        templates=_templates(path, file.templates),
    )


def _warmup(file: _WarmupFile) -> WarmupStart:
    return WarmupStart(file.start, tuple(file.schedule or ()))


def _templates(path: Path, named: str) -> Path | None:
    if not named:
        return None
    folder = (path.parent / named).resolve()
    if not folder.is_dir():
        raise ConfigurationError(f"{path.name}: templates: found {named!r}; allowed: a folder beside {path.name}")
    return folder


def _split(environ: Mapping[str, str], name: str) -> list[str]:
    return [part.strip() for part in environ.get(name, "").split(",") if part.strip()]


def _token_hash(token: str, name: str) -> str:
    if len(token) < MIN_TOKEN:
        raise ConfigurationError(f"{name}: found a token of {len(token)} characters; allowed: {MIN_TOKEN} or more")
    return hashlib.sha256(token.encode()).hexdigest()


def _signing_secret(text: str, name: str) -> bytes:
    """`whsec_` and the base64 of 24 to 64 bytes (Standard Webhooks, "Signature scheme")."""
    allowed = "allowed: `whsec_` and the base64 of 24 to 64 bytes (several: separated by commas)"
    if not text.startswith("whsec_"):
        raise ConfigurationError(f"{name}: found something without `whsec_` at its start; {allowed}")
    try:
        key = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        raise ConfigurationError(f"{name}: found something that is not base64; {allowed}") from None
    if len(key) not in _SECRET_BYTES:
        raise ConfigurationError(f"{name}: found {len(key)} bytes; {allowed}")
    return key


def _refuse_twins(loaded: Mapping[str, Publication]) -> None:
    """One credential must say who speaks: two publications with the same one could not be told apart."""
    for what, keys_of in (("token", _tokens_of), ("webhook secret", _secrets_of)):
        owners: dict[object, str] = {}
        for slug, publication in loaded.items():
            for key in keys_of(publication):
                if owners.setdefault(key, slug) != slug:
                    raise ConfigurationError(
                        f"publications {owners[key]!r} and {slug!r} share a {what}; allowed: one of its own for each"
                    )


def _refuse_two_warmups(publications: Iterable[Publication]) -> None:
    """A domain has one allowance, whoever sends by it."""
    said: dict[str, Publication] = {}
    for one in publications:
        if one.warmup is not None and said.setdefault(one.sender.domain, one).warmup != one.warmup:
            raise ConfigurationError(
                f"publications {said[one.sender.domain].slug!r} and {one.slug!r}: warmup: found two for "
                f"{one.sender.domain}; allowed: the same in both, or one in either, which holds for both"
            )


def _tokens_of(publication: Publication) -> tuple[str, ...]:
    return publication.token_hashes


def _secrets_of(publication: Publication) -> tuple[bytes, ...]:
    return publication.signing_secrets


def _explain(error: ValidationError, path: Path) -> Iterator[str]:
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            yield f"{path.name}: {key}: there is no such key; see docs/configuration.md"
        elif problem["type"] == "missing":
            yield f"{path.name}: {key}: found nothing; this key is needed"
        else:
            message = problem["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
            yield f"{path.name}: {key}: found {problem['input']!r}; allowed: {message}"
