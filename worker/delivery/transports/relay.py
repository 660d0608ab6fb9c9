"""The relay, as `PRESSRUN_SMTP_URL` names it."""

from __future__ import annotations

import ipaddress
import re
import socket
import ssl
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from worker.domain.errors import ConfigurationError

_KEY = "PRESSRUN_SMTP_URL"
_FORM = "smtp://user:password@host:port?tls=none|starttls|tls, or smtps://…"
_HELO = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?|\[[0-9A-Fa-f.:IPv]+\]")


class Tls(StrEnum):
    NONE = "none"
    STARTTLS = "starttls"
    TLS = "tls"


_PORTS = {Tls.NONE: 25, Tls.STARTTLS: 587, Tls.TLS: 465}


@dataclass(frozen=True, slots=True)
class Login:
    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Relay:
    """Where to connect and how to introduce oneself. Timeouts are in seconds."""

    host: str
    port: int
    tls: Tls
    login: Login | None
    helo: str
    connect_timeout: float
    context: ssl.SSLContext | None
    optional: bool = False
    """Whether it goes on in clear where STARTTLS is not offered; never for a relay."""

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def read_relay(url: str, *, helo: str, connect_timeout: float, verify: bool, ca_file: str) -> Relay:
    """Raises `ConfigurationError` naming the key, what was found (never the password) and what is allowed."""
    parts = _split(url)
    port = _port(parts)
    tls = _tls(parts)
    login = _login(parts)
    host = parts.hostname or ""
    if login and tls is Tls.NONE and "tls=" not in parts.query and not _is_loopback(host):
        raise _bad("a login without TLS", "add ?tls=starttls; or ?tls=none, to send the password in clear")
    # for a file without TLS, too: one that cannot be read is a mistake that would show on the day TLS comes
    context = tls_context(verify, ca_file) if ca_file or tls is not Tls.NONE else None
    return Relay(host, _PORTS[tls] if port is None else port, tls, login, helo_name(helo), connect_timeout,
                 None if tls is Tls.NONE else context)  # fmt: skip


def _bad(found: str, allowed: str = _FORM) -> ConfigurationError:
    return ConfigurationError(f"{_KEY}: found {found}; allowed: {allowed}")


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise _bad("a host that is no host") from None
    if parts.scheme not in ("smtp", "smtps"):
        raise _bad(f"scheme {parts.scheme!r}")
    if not parts.hostname:
        raise _bad("no host")
    if not re.fullmatch(r"[A-Za-z0-9._:%-]+", parts.hostname):
        raise _bad("a host with characters that no host has")
    if parts.path not in ("", "/") or parts.fragment or "@" in parts.query:
        raise _bad("something after the host (a `/`, `?` or `#` in the password is written %2F, %3F, %23)")
    return parts


def _tls(parts: SplitResult) -> Tls:
    default = Tls.TLS if parts.scheme == "smtps" else Tls.NONE
    given = parse_qsl(parts.query, keep_blank_values=True)
    unknown = [name for name, _ in given if name != "tls"]
    if unknown or len(given) > 1:
        raise _bad(f"the parameters {[name for name, _ in given]}", "one parameter: tls=none, tls=starttls or tls=tls")
    value = given[0][1] if given else default
    if value not in set(Tls):
        raise _bad(f"tls={value!r}", "tls=none, tls=starttls or tls=tls")
    if parts.scheme == "smtps" and value != Tls.TLS:
        raise _bad(f"smtps:// with tls={value}", "smtp:// with it, or smtps:// alone")
    return Tls(value)


def _port(parts: SplitResult) -> int | None:
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise _bad("a port that is no port", "1 to 65535")
    return port


def _login(parts: SplitResult) -> Login | None:
    if parts.username is None and parts.password is None:
        return None
    if not parts.username or parts.password is None:
        raise _bad("half a login", "user:password@, or neither")
    login = Login(unquote(parts.username), unquote(parts.password))
    if "\0" in login.user + login.password:
        raise _bad("a NUL in the login", "any other character")
    return login


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def tls_context(verify: bool, ca_file: str) -> ssl.SSLContext:
    """Raises `ConfigurationError` for a file that holds no certificates."""
    context = ssl.create_default_context()
    if ca_file:
        try:
            context.load_verify_locations(cafile=ca_file)
        except OSError as error:  # ssl.SSLError is one
            raise ConfigurationError(
                f"PRESSRUN_SMTP_CA_FILE: found {ca_file!r}, which cannot be read ({error}); "
                "allowed: a PEM file of certificates"
            ) from None
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def helo_name(name: str) -> str:
    """What to say in EHLO; this host's name where none is given. Raises `ConfigurationError`."""
    if name:
        if not _HELO.fullmatch(name):
            raise ConfigurationError(
                f"PRESSRUN_SMTP_HELO: found {name!r}; allowed: a host name in ASCII, or an address literal [192.0.2.1]"
            )
        return name
    own = socket.gethostname()
    return own if _HELO.fullmatch(own) else "localhost"
