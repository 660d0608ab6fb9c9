"""One frozen Settings. Each field's description is the documentation: `docs/configuration.md` is made from it."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from worker.bounds import MIN_SECRET, MIN_TOKEN, Count, Days, Hours, Port, Rate, Seconds
from worker.domain.warmup import DEFAULT_SCHEDULE, checked_schedule

OutcomePolicy = Literal["retry", "hold"]


class Settings(BaseModel):
    """Every setting, checked. Field `limit_per_second` is `PRESSRUN_LIMIT_PER_SECOND` in the environment."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    # -- where things are
    environment: Literal["development", "production"] = Field(
        "development", description="`production` refuses to start without a secret key and a public HTTPS URL."
    )
    var_dir: Path = Field(
        Path("var"), description="All files of the embedded defaults: database, Redis, journals, key."
    )
    config_dir: Path = Field(
        Path("config"),
        description="Folder of the configuration file, `shaping.toml` and `publications/`. Follows `PRESSRUN_CONFIG`.",
    )
    database_url: str = Field(
        "", description="SQLAlchemy URL, `postgresql://…` in production. Empty: SQLite in `var_dir`."
    )
    redis_url: str = Field("", description="`redis://…`. Empty: an embedded server in `var_dir`.")
    smtp_url: str = Field(
        "smtp://127.0.0.1:1025",
        description="The relay: `smtp://user:pass@host:587?tls=starttls`; tls is `none`, `starttls` or `tls`. "
        "`mx://`: none, mail goes straight to the recipients' mail servers.",
    )
    public_url: str = Field("", description="What links in mails start with. Empty: the API's own address.")
    secret_key: str = Field(
        "", repr=False, description="Signs links and Message-IDs; 32 characters or more. Empty: made once in `var_dir`."
    )
    secret_key_id: Annotated[int, Field(ge=0, le=255)] = Field(
        1, description="The id of `secret_key` in link tokens; raise it when you rotate."
    )
    old_secret_keys: dict[int, str] = Field(
        default_factory=dict,
        repr=False,
        description="Earlier keys by id (`1=…,2=…`), so that links in old mails keep working.",
    )

    # -- the HTTP face
    api_host: str = Field("127.0.0.1", description="Address the API listens on.")
    api_port: Port = Field(8025, description="Port of the API and the hosted pages.")
    flower_host: str = Field(
        "127.0.0.1", description="Address Flower listens on; it shows queues, keep it off public networks."
    )
    flower_port: Port = Field(5555, description="Port of Flower.")
    flower_password: str = Field(
        "", repr=False, description="Flower's password (user `pressrun`). Needed where Flower listens beyond this host."
    )
    inbox_port: Port = Field(8026, description="Port of the demo's inbox page.")
    inbox_smtp_port: Port = Field(1025, description="Port of the demo's SMTP inbox.")
    metrics_token: str = Field(
        "", repr=False,
        description="Bearer token for `/metrics`, 16 characters or more. Empty: they are shown to this host alone, and "
        "not through a proxy.",
    )
    trusted_proxies: tuple[str, ...] = Field((), description="Networks whose `X-Forwarded-For` is believed.")
    max_event_bytes: Annotated[int, Field(ge=65536, le=1_073_741_824)] = Field(
        1_048_576, description="Largest event body, in bytes."
    )
    request_timeout_seconds: Seconds = Field(
        30, description="Time a client has for a whole request; a slower one is hung up on."
    )
    signature_tolerance_seconds: Seconds = Field(300, description="How old or early a webhook's timestamp may be.")
    log_format: Literal["console", "json"] = Field("console", description="How logs are written.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level that is logged.")

    # -- sending
    bulk_processes: Annotated[int, Field(ge=1, le=256)] = Field(2, description="Processes that send bulk mail.")
    bulk_slots: Annotated[int, Field(ge=0, le=4096)] = Field(
        0, description="Bulk chunk tasks in flight at once over all hosts. 0: one for each bulk process that is up."
    )
    transactional_processes: Annotated[int, Field(ge=1, le=64)] = Field(
        2, description="Processes that send transactional mail: while one is replaced, the other sends."
    )
    smtp_connections: Annotated[int, Field(ge=1, le=1000)] = Field(
        20, description="SMTP connections of each sending process."
    )
    smtp_connections_all: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        0, description="SMTP connections to the relay from all processes together. 0: as many as they have."
    )
    smtp_messages_per_connection: Annotated[int, Field(ge=1, le=1_000_000_000)] = Field(
        100, description="Messages before a connection is closed."
    )
    smtp_connect_timeout_seconds: Seconds = Field(
        15, description="Deadline for the socket and each reply before MAIL FROM."
    )
    smtp_timeout_seconds: Seconds = Field(60, description="Deadline for each later reply, but for the last one.")
    smtp_done_timeout_seconds: Seconds = Field(
        120,
        description="Deadline for the reply to the message itself. What comes later counts as unknown and is sent "
        "again: 600 (RFC 5321 §4.5.3.2.6) for a relay that scans slowly.",
    )
    smtp_helo: str = Field(
        "",
        description="Name given in EHLO. Empty: this host's name. With `mx://` it should be the name that the sending "
        "address resolves back to (PTR).",
    )
    smtp_mx_port: Annotated[int, Field(ge=1, le=65535)] = Field(
        25, description="With `mx://`: port of the recipients' mail servers. Another than 25 is for tests."
    )
    smtp_mx_tls: Literal["none", "opportunistic", "required", "verify"] = Field(
        "opportunistic",
        description="With `mx://`, where `shaping.toml` says nothing: TLS where it is offered and in clear where not, "
        "`required`, or required with a certificate for the server's name (`verify`).",
    )
    smtp_mx_nameserver: str = Field(
        "", description="With `mx://`: the DNS server, `192.0.2.1` or `127.0.0.1:5353`. Empty: this machine's."
    )
    smtp_mx_private: bool = Field(
        False, description="With `mx://`: whether mail goes to addresses of private networks (10.0.0.0/8, fc00::/7, …)."
    )
    smtp_verify: bool = Field(True, description="Whether TLS certificates are checked.")
    smtp_ca_file: str = Field("", description="Extra certificate authorities (PEM file).")
    limit_per_second: Rate | None = Field(
        None, description="Overall mails per second over all workers. Unset: none."
    )
    transport_limit_per_second: Rate | None = Field(
        None, description="Mails per second to the relay. Unset: none."
    )
    transactional_share: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.1, description="Part of every limit that is kept for transactional mail."
    )
    warmup_schedule: tuple[int, ...] = Field(
        DEFAULT_SCHEDULE,
        description="Mails a day of a sending domain that warms up (`[warmup]` in its publication's file), the first "
        "day's first; after the last day there is no limit.",
    )
    # 3 s at least: no conversation of a claim starts after 1.8 s, and the recorder looks once a second whether half
    # of it is over; a shorter one could run out before it is renewed.
    lease_seconds: Annotated[float, Field(ge=3, le=86_400)] = Field(
        30, description="How long a claim holds without being renewed."
    )
    retry_base_seconds: Seconds = Field(60, description="First backoff; it doubles with each attempt.")
    retry_cap_seconds: Seconds = Field(14_400, description="Longest backoff.")
    retry_hours: Hours = Field(72, description="Time from the first attempt after which a delivery expires.")
    unknown_bulk: OutcomePolicy = Field(
        "retry", description="After a cut behind the final dot, bulk mail: send again, or hold."
    )
    unknown_transactional: OutcomePolicy = Field("retry", description="The same for transactional mail.")

    # -- campaigns and audience
    campaigns_per_hour: Count = Field(
        10, description="Campaigns of one publication in an hour before more are held."
    )
    post_max_age_hours: Hours | None = Field(
        None, description="Posts older than this are held. Unset: off."
    )
    confirm_hours: Hours = Field(72, description="How long a confirmation link works.")
    confirmation_interval_seconds: Seconds = Field(
        600, description="Least time between two confirmations to one address."
    )
    confirmations_per_day: Count = Field(
        3, description="Confirmations to one address in 24 hours."
    )
    signups_per_ip_hour: Count = Field(
        20, description="Sign-ups from one IP address in an hour; of IPv6, from one /64 network."
    )

    # -- housekeeping
    sweep_seconds: Seconds = Field(5, description="How often the sweep looks for what is due, lost or expired.")
    retention_days: Days = Field(
        400, description="Days that events and finished deliveries are kept."
    )
    pending_retention_days: Days = Field(
        30, description="Days that a sign-up nobody confirmed is kept after its last link expired."
    )
    shutdown_seconds: Seconds = Field(20, description="Time a worker takes to finish or give back on SIGTERM.")

    @field_validator("trusted_proxies", "warmup_schedule", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            try:
                ip_network(network)
            except ValueError:
                raise ValueError("networks such as 10.0.0.0/8 or 192.0.2.1, separated by commas") from None
        return value

    @field_validator("warmup_schedule")
    @classmethod
    def _grows(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        return checked_schedule(value)

    @field_validator("metrics_token")
    @classmethod
    def _not_guessed(cls, value: str) -> str:
        if value and len(value) < MIN_TOKEN:
            raise ValueError(f"{MIN_TOKEN} characters or more")
        return value

    @field_validator("old_secret_keys", mode="before")
    @classmethod
    def _pairs(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        pairs = [part.strip().partition("=") for part in value.split(",") if part.strip()]
        if not all(key and equals for key, equals, _ in pairs):
            raise ValueError("`id=key` pairs, separated by commas")
        return {key: secret for key, _, secret in pairs}

    @field_validator("old_secret_keys")
    @classmethod
    def _usable_keys(cls, value: dict[int, str]) -> dict[int, str]:
        # the id is one byte of every token, and a short key could be guessed
        if not all(0 <= key <= 255 and len(secret) >= MIN_SECRET for key, secret in value.items()):
            raise ValueError(f"ids from 0 to 255 and keys of {MIN_SECRET} characters or more")
        return value

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
    def lease(self) -> timedelta:
        return timedelta(seconds=self.lease_seconds)
