"""One frozen Settings: environment `PRESSRUN_*` over `pressrun.toml` over the defaults here.

Each field's description is the documentation: `docs/configuration.md` is made from it.
"""

from __future__ import annotations

import secrets
import tomllib
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from worker import resources
from worker.domain.errors import ConfigurationError

PREFIX = "PRESSRUN_"
OutcomePolicy = Literal["retry", "hold"]
Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0)]


class Settings(BaseModel):
    """Every setting, checked. Field `limit_per_second` is `PRESSRUN_LIMIT_PER_SECOND` in the environment."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    # -- where things are
    environment: Literal["development", "production"] = Field(
        "development", description="`production` refuses to start without a secret key and a public HTTPS URL."
    )
    var_dir: Path = Field(Path("var"), description="All files of the embedded defaults: database, Redis, journals, key.")
    config_dir: Path = Field(
        Path("config"), description="Folder of the configuration file, `shaping.toml` and `publications/`. Follows `PRESSRUN_CONFIG`.",
    )
    database_url: str = Field("", description="SQLAlchemy URL, `postgresql://…` in production. Empty: SQLite in `var_dir`.")
    redis_url: str = Field("", description="`redis://…`. Empty: an embedded server in `var_dir`.")
    smtp_url: str = Field(
        "smtp://127.0.0.1:1025", description="The relay: `smtp://user:pass@host:587?tls=starttls`; tls is `none`, `starttls` or `tls`."
    )
    public_url: str = Field("", description="What links in mails start with. Empty: the API's own address.")
    secret_key: str = Field("", repr=False, description="Signs links and Message-IDs; 32 characters or more. Empty: made once in `var_dir`.")
    secret_key_id: Annotated[int, Field(ge=0, le=255)] = Field(1, description="The id of `secret_key` in link tokens; raise it when you rotate.")
    old_secret_keys: dict[int, str] = Field(
        default_factory=dict, repr=False, description="Earlier keys by id (`1=…,2=…`), so that links in old mails keep working."
    )

    # -- the HTTP face
    api_host: str = Field("127.0.0.1", description="Address the API listens on.")
    api_port: Port = Field(8025, description="Port of the API and the hosted pages.")
    flower_host: str = Field("127.0.0.1", description="Address Flower listens on; it shows queues, keep it off public networks.")
    flower_port: Port = Field(5555, description="Port of Flower.")
    inbox_port: Port = Field(8026, description="Port of the demo's inbox page.")
    inbox_smtp_port: Port = Field(1025, description="Port of the demo's SMTP inbox.")
    trusted_proxies: tuple[str, ...] = Field((), description="Networks whose `X-Forwarded-For` is believed.")
    max_event_bytes: Annotated[int, Field(ge=65536)] = Field(1_048_576, description="Largest event body, in bytes.")
    signature_tolerance_seconds: Seconds = Field(300, description="How old or early a webhook's timestamp may be.")
    log_format: Literal["console", "json"] = Field("console", description="How logs are written.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level that is logged.")

    # -- sending
    bulk_processes: Annotated[int, Field(ge=1, le=256)] = Field(2, description="Processes that send bulk mail.")
    bulk_slots: Annotated[int, Field(ge=0, le=4096)] = Field(
        0, description="Bulk chunk tasks in flight at once over all hosts. 0: `bulk_processes`."
    )
    transactional_processes: Annotated[int, Field(ge=1, le=64)] = Field(1, description="Processes that send transactional mail.")
    smtp_connections: Annotated[int, Field(ge=1, le=1000)] = Field(20, description="SMTP connections of each sending process.")
    smtp_messages_per_connection: Annotated[int, Field(ge=1)] = Field(100, description="Messages before a connection is closed.")
    smtp_connect_timeout_seconds: Seconds = Field(15, description="Deadline for the socket and each reply before MAIL FROM.")
    smtp_timeout_seconds: Seconds = Field(60, description="Deadline for each later reply.")
    smtp_helo: str = Field("", description="Name given in EHLO. Empty: this host's name.")
    smtp_verify: bool = Field(True, description="Whether TLS certificates are checked.")
    smtp_ca_file: str = Field("", description="Extra certificate authorities (PEM file).")
    limit_per_second: Annotated[float, Field(gt=0)] | None = Field(None, description="Overall mails per second over all workers. Unset: none.")
    transport_limit_per_second: Annotated[float, Field(gt=0)] | None = Field(None, description="Mails per second to the relay. Unset: none.")
    transactional_share: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.1, description="Part of every limit that is kept for transactional mail."
    )
    lease_seconds: Annotated[float, Field(ge=5)] = Field(30, description="How long a claim holds without being renewed.")
    retry_base_seconds: Seconds = Field(60, description="First backoff; it doubles with each attempt.")
    retry_cap_seconds: Seconds = Field(14_400, description="Longest backoff.")
    retry_hours: Seconds = Field(72, description="Time from the first attempt after which a delivery expires.")
    unknown_bulk: OutcomePolicy = Field("retry", description="After a cut behind the final dot, bulk mail: send again, or hold.")
    unknown_transactional: OutcomePolicy = Field("retry", description="The same for transactional mail.")

    # -- campaigns and audience
    campaigns_per_hour: Annotated[int, Field(ge=1)] = Field(10, description="Campaigns of one publication in an hour before more are held.")
    post_max_age_hours: Annotated[float, Field(gt=0)] | None = Field(None, description="Posts older than this are held. Unset: off.")
    confirm_hours: Seconds = Field(72, description="How long a confirmation link works.")
    confirmation_interval_seconds: Seconds = Field(600, description="Least time between two confirmations to one address.")
    confirmations_per_day: Annotated[int, Field(ge=1)] = Field(3, description="Confirmations to one address in 24 hours.")
    signups_per_ip_hour: Annotated[int, Field(ge=1)] = Field(20, description="Sign-ups from one IP address in an hour.")

    # -- housekeeping
    sweep_seconds: Seconds = Field(5, description="How often the sweep looks for what is due, lost or expired.")
    retention_days: Annotated[int, Field(ge=1)] = Field(400, description="Days that events and finished deliveries are kept.")
    shutdown_seconds: Seconds = Field(20, description="Time a worker takes to finish or give back on SIGTERM.")

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("old_secret_keys", mode="before")
    @classmethod
    def _pairs(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return dict(part.split("=", 1) for part in value.split(",") if "=" in part)

    @field_validator("limit_per_second", "transport_limit_per_second", "post_max_age_hours", mode="before")
    @classmethod
    def _unset(cls, value: object) -> object:
        return None if value == "" else value

    # -- what follows from the settings
    @property
    def database(self) -> str:
        """The SQLAlchemy URL with its driver named."""
        if not self.database_url:
            return f"sqlite:///{self.var_dir.resolve() / 'pressrun.db'}"
        scheme, _, rest = self.database_url.partition("://")
        return f"postgresql+psycopg://{rest}" if scheme in ("postgres", "postgresql") else self.database_url

    @property
    def redis_socket(self) -> Path:
        """The embedded server's socket. A socket's path holds about 100 bytes; longer ones move to /tmp."""
        path = self.var_dir.resolve() / "redis.sock"
        if len(str(path)) < 100:
            return path
        import hashlib

        name = hashlib.sha256(str(path).encode()).hexdigest()[:16]
        return Path("/tmp") / f"pressrun-{name}.sock"  # noqa: S108 - the folder's name is a hash of ours

    @property
    def redis(self) -> str:
        """The URL for redis-py (`unix://…` for the embedded server)."""
        return self.redis_url or f"unix://{self.redis_socket}"

    @property
    def broker(self) -> str:
        """The URL for Celery, which spells a socket differently."""
        return self.redis_url or f"redis+socket://{self.redis_socket}"

    @property
    def base_url(self) -> str:
        """What links start with, without a slash at the end."""
        return (self.public_url or f"http://{self.api_host}:{self.api_port}").rstrip("/")

    @property
    def journal_dir(self) -> Path:
        return self.var_dir.resolve() / "journal"

    @property
    def slots(self) -> int:
        return self.bulk_slots or self.bulk_processes

    @property
    def lease(self) -> timedelta:
        return timedelta(seconds=self.lease_seconds)


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Read the file, lay the environment over it, check the whole.

    Raises `ConfigurationError` naming the key, what was found and what is allowed.
    """
    path = _config_path(environ)
    values = _read_file(path)
    values["config_dir"] = path.parent
    for name in Settings.model_fields:
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
        found = "(hidden)" if "secret" in key else repr(problem["input"])
        lines.append(f"{name}: found {found}; allowed: {_allowed(problem['msg'])}")
    return "\n".join(lines)


def _allowed(message: str) -> str:
    return message.removeprefix("Input should be ").removeprefix("Value error, ")


def _check_urls(settings: Settings) -> Settings:
    for key, value, schemes in (
        ("DATABASE_URL", settings.database_url, ("sqlite", "postgresql", "postgres", "postgresql+psycopg")),
        ("REDIS_URL", settings.redis_url, ("redis", "rediss")),
        ("SMTP_URL", settings.smtp_url, ("smtp", "smtps")),
        ("PUBLIC_URL", settings.public_url, ("http", "https")),
    ):
        scheme, colon, _ = value.partition("://")
        if value and (not colon or scheme not in schemes):
            shown = f"scheme {scheme!r}" if colon else "no scheme"
            allowed = ", ".join(f"{one}://…" for one in schemes)
            raise ConfigurationError(f"{PREFIX}{key}: found {shown}; allowed: {allowed}")
    return settings


def _check_production(settings: Settings) -> Settings:
    if settings.secret_key and len(settings.secret_key) < 32:
        raise ConfigurationError(
            f"PRESSRUN_SECRET_KEY: found {len(settings.secret_key)} characters; allowed: 32 or more"
        )
    if settings.environment != "production":
        return settings
    if not settings.secret_key:
        raise ConfigurationError("PRESSRUN_SECRET_KEY: found nothing; production needs 32 characters or more of your own")
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
        with path.open("x", encoding="ascii") as file:
            path.chmod(0o600)
            file.write(secrets.token_urlsafe(48))
    except FileExistsError:
        pass
    except OSError as error:
        raise ConfigurationError(
            f"PRESSRUN_VAR_DIR: {settings.var_dir} cannot be written ({error.strerror}); give a folder that can"
        ) from None
    key = path.read_text("ascii")
    if len(key) < 32:
        raise ConfigurationError(f"{path}: holds no key; delete the file and start again")
    return settings.model_copy(update={"secret_key": key})
