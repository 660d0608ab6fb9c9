"""A publication: one publishing site with its sender, brand, lists, secrets and limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class MailingList:
    slug: str
    name: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class Sender:
    """The From of every mail of a publication; `bounce_domain` is the domain of its return paths."""

    name: str
    email: str
    reply_to: str = ""
    bounce_domain: str = ""

    @property
    def domain(self) -> str:
        return self.email.rpartition("@")[2].lower()

    @property
    def return_domain(self) -> str:
        return self.bounce_domain or self.domain


@dataclass(frozen=True, slots=True)
class Brand:
    url: str
    logo: str = ""
    color: str = "#1a56db"
    postal_address: str = ""
    language: str = "en"


@dataclass(frozen=True, slots=True)
class WarmupStart:
    """That the sender's domain is new, and from which day it warms up; an empty `schedule` means the default one."""

    start: date
    schedule: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Publication:
    """Read from `config/publications/<slug>.toml`; secrets come from the environment."""

    slug: str
    name: str
    sender: Sender
    brand: Brand
    lists: tuple[MailingList, ...]
    timezone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    post_body: Literal["full", "excerpt"] = "full"
    welcome: bool = False
    limit_per_second: float | None = None
    campaigns_per_hour: int | None = None
    post_max_age_hours: float | None = None
    warmup: WarmupStart | None = None
    token_hashes: tuple[str, ...] = ()
    """SHA-256 (hex) of each bearer token that may speak for this publication."""
    signing_secrets: tuple[bytes, ...] = field(default=(), repr=False)
    """Decoded `whsec_` keys; several at once while a key is rotated."""
    ghost_secrets: tuple[str, ...] = field(default=(), repr=False)
    templates: Path | None = None
    """A folder whose files override those of `templates/email/`."""

    def list_named(self, slug: str) -> MailingList | None:
        return next((one for one in self.lists if one.slug == slug), None)
