"""Where settings come from: environment `PRESSRUN_*` over `pressrun.toml` over the defaults of `Settings`."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import ValidationError

from worker import resources
from worker.bounds import MIN_SECRET
from worker.domain.errors import ConfigurationError
from worker.options import Settings

__all__ = ["PREFIX", "Settings", "load_settings"]

PREFIX = "PRESSRUN_"


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Read the file, lay the environment over it, check the whole.

    Raises `ConfigurationError` naming the key, what was found and what is allowed.
    """
    path = _config_path(environ)
    values = _read_file(path)
    values["config_dir"] = path.parent
    for name in Settings.model_fields.keys() - {"config_dir"}:
        found = environ.get(PREFIX + name.upper())
        if found is not None and (found != "" or name in ("limit_per_second", "transport_limit_per_second")):
            values[name] = found
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise ConfigurationError(_explain(error, environ, path)) from None
    return _with_secret(_check_production(_check_urls(settings)))


def _config_path(environ: Mapping[str, str]) -> Path:
    named = environ.get(PREFIX + "CONFIG")
    if named:
        path = Path(named)
        if not path.is_file():
            raise ConfigurationError(f"PRESSRUN_CONFIG: no file at {named!r}; give the path of a pressrun.toml")
        return path.resolve()
    local = Path("config/pressrun.toml")
    return local.resolve() if local.is_file() else resources.config_dir() / "pressrun.toml"


def _read_file(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read: {error}") from None


def _explain(error: ValidationError, environ: Mapping[str, str], path: Path) -> str:
    lines = []
    for problem in error.errors():
        key = str(problem["loc"][0]) if problem["loc"] else "?"
        in_env = PREFIX + key.upper() in environ
        name = PREFIX + key.upper() if in_env else f"{path.name}: {key}"
        if problem["type"] == "extra_forbidden":
            lines.append(f"{name}: there is no such setting; see docs/configuration.md")
            continue
        # a mistyped secret must not end in a terminal's scrollback or a log
        field = Settings.model_fields.get(key)
        found = "(hidden)" if field is not None and not field.repr else repr(problem["input"])
        lines.append(f"{name}: found {found}; allowed: {_allowed(problem['msg'])}")
    return "\n".join(lines)


def _allowed(message: str) -> str:
    return message.removeprefix("Input should be ").removeprefix("Value error, ").partition(", unable to")[0]


def _check_urls(settings: Settings) -> Settings:
    for key, value, schemes in (
        ("DATABASE_URL", settings.database_url, ("sqlite", "postgresql", "postgres", "postgresql+psycopg")),
        ("REDIS_URL", settings.redis_url, ("redis", "rediss")),
        ("SMTP_URL", settings.smtp_url, ("smtp", "smtps", "mx")),
        ("PUBLIC_URL", settings.public_url, ("http", "https")),
    ):
        scheme, colon, _ = value.partition("://")
        if value and (not colon or scheme not in schemes):
            shown = f"scheme {scheme!r}" if colon else "no scheme"
            allowed = ", ".join(f"{one}://…" for one in schemes)
            raise ConfigurationError(f"{PREFIX}{key}: found {shown}; allowed: {allowed}")
    _check_redis(settings.redis_url)
    for key, host in (("API_HOST", settings.api_host), ("FLOWER_HOST", settings.flower_host)):
        try:
            host.encode("idna")
        except UnicodeError:
            raise ConfigurationError(f"{PREFIX}{key}: found {host!r}; allowed: an address or a host's name") from None
    if settings.public_url and not _starts_links(settings.public_url):
        raise ConfigurationError(
            f"{PREFIX}PUBLIC_URL: found {settings.public_url!r}; allowed: https://mail.blog.example, with a port or a "
            "path where there is one, and nothing else"
        )
    return settings


def _starts_links(url: str) -> bool:
    """Whether a path can be put behind it."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    plain = bool(parts.hostname) and "@" not in parts.netloc and not any(one.isspace() for one in url)
    return plain and not {"?", "#"} & set(url)


def _check_redis(url: str) -> None:
    try:
        _ = urlsplit(url).port
        if not re.fullmatch(r"/?\d*", urlsplit(url).path):
            raise ConfigurationError(
                f"{PREFIX}REDIS_URL: found database {urlsplit(url).path[1:]!r}; allowed: a number, as in redis://host:6379/0"
            )
    except ValueError:
        raise ConfigurationError(
            f"{PREFIX}REDIS_URL: found a port that is no port; allowed: redis://:password@host:6379/0, with `/`, `?`, "
            "`#` and `@` in the password written %2F, %3F, %23 and %40"
        ) from None


def _check_production(settings: Settings) -> Settings:
    if settings.secret_key and len(settings.secret_key) < MIN_SECRET:
        raise ConfigurationError(
            f"PRESSRUN_SECRET_KEY: found {len(settings.secret_key)} characters; allowed: {MIN_SECRET} or more"
        )
    if settings.environment != "production":
        return settings
    if not settings.secret_key:
        raise ConfigurationError(
            f"PRESSRUN_SECRET_KEY: found nothing; production needs {MIN_SECRET} characters or more of your own"
        )
    if not settings.public_url.startswith("https://"):
        raise ConfigurationError(
            f"PRESSRUN_PUBLIC_URL: found {settings.public_url!r}; production needs an https:// URL, since one-click "
            "unsubscribe must be HTTPS (RFC 8058 §3.1)"
        )
    return settings


def _with_secret(settings: Settings) -> Settings:
    """Development makes its own key once, so that links survive a restart."""
    if settings.secret_key:
        return settings
    path = settings.var_dir / "secret.key"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _make_key(path)
    except OSError as error:
        raise ConfigurationError(
            f"PRESSRUN_VAR_DIR: {settings.var_dir} cannot be written ({error.strerror}); give a folder that can"
        ) from None
    key = path.read_text("ascii", errors="replace")
    if len(key) < MIN_SECRET or not key.isascii():
        raise ConfigurationError(
            f"{path}: holds no key; restore it from a backup (without it links in mails already sent stop working), or "
            "delete the file and start again"
        )
    return settings.model_copy(update={"secret_key": key})


def _make_key(path: Path) -> None:
    """Written in full before it has its name: of several processes that start at once, all read the first one's."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f"{path.name}.", encoding="ascii") as file:
        file.write(secrets.token_urlsafe(48))
        file.flush()
        os.fsync(file.fileno())
        try:
            os.link(file.name, path)
        except FileExistsError:
            return
        except OSError:
            # a folder without hard links (exFAT, some shared folders): there two that start at once may be at odds
            with contextlib.suppress(FileExistsError), path.open("x", encoding="ascii") as key:
                path.chmod(0o600)
                key.write(Path(file.name).read_text("ascii"))
