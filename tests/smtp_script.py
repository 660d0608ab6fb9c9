"""The values of `tests.smtpd`: what the server is told to do and to offer, and what it has seen."""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

At = Literal["connect", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "body", "dot", "rset", "after"]


@dataclass(frozen=True)
class Rule:
    """What the server does at a stage instead of the usual.

    `at`: `connect` (the greeting), a command, `body` (when the first bytes of a body are in), `dot` (after
    the final dot), `after` (when the answer to the final dot is out). `rcpt` limits it to one recipient, or
    `@domain` to those of one domain (from `rcpt` on), `nth` to the nth MAIL of the server's life (from 1),
    `nth_here` to the nth of its connection; `times` is how often it applies. In order: wait `delay` seconds,
    write `reply` (a `\\n` in it makes lines), stay silent, or cut the line; with none of these three the usual
    reply follows.
    `accept`: at `dot`, the message is kept although its answer is cut, silent or a refusal.
    """

    at: At
    reply: str | None = None
    cut: bool = False
    silent: bool = False
    delay: float = 0.0
    rcpt: str | None = None
    nth: int | None = None
    nth_here: int | None = None
    times: int | None = None
    accept: bool = False

    @property
    def stands_in(self) -> bool:
        """Whether the usual reply does not follow. An empty line is a reply, too."""
        return self.reply is not None or self.silent or self.cut


@dataclass(frozen=True)
class Received:
    """A message that was accepted. `at` is `time.time()` when its final dot was read."""

    mail_from: str
    rcpt: str
    data: bytes
    """Unstuffed, without the final dot; empty where the server keeps no bodies."""
    message_id: str
    size: int
    at: float
    connection: int
    parameters: str
    """What stood after the path in MAIL FROM."""
    body_at: float = 0.0
    """`time.time()` when the first bytes of its body were in."""


@dataclass(frozen=True)
class Interrupted:
    """A conversation whose client went away after MAIL FROM, and before QUIT or another command.

    `replied`: the answer to the final dot was written (its client may or may not have read it).
    """

    mail_from: str
    rcpt: str
    replied: bool
    accepted: bool


@dataclass(frozen=True)
class Certificate:
    cert: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert, self.key)
        return context


def self_signed(folder: Path, names: str = "DNS:localhost,IP:127.0.0.1") -> Certificate:
    """A certificate for these names, good for two days; made in `folder`, which must be there."""
    made = Certificate(folder / "cert.pem", folder / "key.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", f"subjectAltName={names}",
         "-keyout", str(made.key), "-out", str(made.cert)],
        check=True, capture_output=True,
    )
    return made


@dataclass
class Options:
    """What the server offers. `latency` is added before every write, as a long line does."""

    pipelining: bool = True
    eight_bit: bool = True
    smtputf8: bool = True
    size: int | None = 50_000_000
    esmtp: bool = True
    users: dict[str, str] = field(default_factory=dict)
    auth: tuple[str, ...] = ("PLAIN", "LOGIN")
    tls: Literal["none", "starttls", "tls"] = "none"
    certificate: Certificate | None = None
    after_starttls: bytes = b""
    """Bytes in clear right behind the answer to STARTTLS: what an attacker would inject."""
    latency: float = 0.0
    max_messages: int | None = None
    """Messages of one connection after which it is closed without a word."""
    keep_bodies: bool = True
    log: Path | None = None
