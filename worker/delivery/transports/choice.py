"""Relay or direct: what `PRESSRUN_SMTP_URL` chooses, and what the settings wish for going direct."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Literal

from worker.delivery.transports.relay import helo_name, tls_context
from worker.domain.errors import ConfigurationError

URL = "mx://"
TlsPolicy = Literal["none", "opportunistic", "required", "verify"]


def is_direct(url: str) -> bool:
    """Whether `PRESSRUN_SMTP_URL` names no relay. Raises `ConfigurationError` for anything behind `mx://`."""
    if not url.startswith(URL):
        return False
    if url != URL:
        raise ConfigurationError(
            f"PRESSRUN_SMTP_URL: found {url!r}; allowed: mx:// alone; its port, TLS and name server are settings of "
            "their own, PRESSRUN_SMTP_MX_…"
        )
    return True


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the settings say. Timeouts are in seconds, as in `SmtpTransport`."""

    helo: str
    port: int
    tls: TlsPolicy
    ca_file: str
    nameserver: str
    private: bool
    connect_timeout: float
    timeout: float
    done_timeout: float
    messages_per_connection: int

    def check(self) -> None:
        """Raises `ConfigurationError` where one of them is wrong."""
        helo_name(self.helo)
        tls_context(verify=True, ca_file=self.ca_file)
        read_nameserver(self.nameserver)


def read_nameserver(text: str) -> tuple[str, int] | None:
    """(address, port), or None for an empty text. Raises `ConfigurationError`."""
    if not text:
        return None
    address, port = text, "53"
    if text.startswith("[") or text.count(":") == 1:
        address, _, port = text.rpartition(":")
    try:
        found = ipaddress.ip_address(address.strip("[]"))
        if not 0 < int(port) < 65536:
            raise ValueError
    except ValueError:
        raise ConfigurationError(
            f"PRESSRUN_SMTP_MX_NAMESERVER: found {text!r}; allowed: an address, 192.0.2.1 or 127.0.0.1:5353 or [::1]:53"
        ) from None
    return str(found), int(port)
