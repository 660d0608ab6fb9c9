"""`pressrun check`: is everything there that sending needs? One line each."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid
from functools import partial
from typing import TYPE_CHECKING

import click

from worker.cli.context import require_migrated
from worker.cli.context import settings as current_settings
from worker.cli.context import system as make_system
from worker.cli.dns import Lookup, check_sender, look_up_txt
from worker.cli.findings import Finding
from worker.cli.output import say, without_secrets
from worker.cli.variables import UNREAD, unread
from worker.cli.warmups import warmup_findings
from worker.domain.doorbell import RecordingDoorbell
from worker.domain.errors import PressrunError
from worker.domain.publication import Publication
from worker.domain.warmup import day_of

if TYPE_CHECKING:
    from worker.bootstrap import System
    from worker.delivery.transports.base import Connection


# Whose mail servers are knocked at where mail goes straight to them and no address is given: they are always there.
_ASKED = "gmail.com"


@click.command("check", short_help="Check configuration, database, Redis, relay and DNS.")
@click.option("--send-to", metavar="ADDRESS", help="Also send one small mail of each publication there.")
def check(send_to: str | None) -> int:
    """Check configuration, database, Redis, the relay's login, and each sender's SPF, DKIM and DMARC.

    One line each with the fix; exit code 1 if any fails.
    """
    failed = 0
    for finding in findings(send_to):
        word = click.style("ok  ", fg="green") if finding.ok else click.style("FAIL", fg="red", bold=True)
        say(f"{word}  {finding.what}: {without_secrets(finding.words)}")
        failed += not finding.ok
    return 1 if failed else 0


def findings(send_to: str | None, look_up: Lookup = look_up_txt) -> Iterator[Finding]:
    """All of them, as they are found. One that needs what failed before it is left out."""
    try:
        # a doorbell is not needed, and Celery takes a second to import
        system = make_system(RecordingDoorbell())
        publications = system.publications
    except PressrunError as error:
        yield Finding(False, "configuration", str(error))
        return
    yield Finding(True, "configuration", f"{system.settings.config_dir}, {system.settings.environment}")
    yield from _unknown_names()
    yield from (_ways_in(publication) for publication in publications.values())
    yield from warmup_findings(system.warmups, day_of(system.clock.now()))
    yield _guarded("limits", lambda: f"{len(system.shaping.groups)} destinations in shaping.toml")
    yield _guarded("templates", lambda: _templates(system))
    yield _guarded("database", lambda: _database(system))
    yield _guarded("redis", lambda: _redis(system))
    yield from _way_out(system, send_to)
    for domain in dict.fromkeys(one.sender.domain for one in publications.values()):
        yield from check_sender(domain, look_up)
    if send_to is not None:
        for publication in publications.values():
            yield _guarded(f"mail of {publication.slug}", partial(_test_mail, system, publication, send_to))


def _unknown_names() -> Iterator[Finding]:
    for name in unread(os.environ, current_settings().config_dir):
        yield Finding(False, name, UNREAD)


def _ways_in(publication: Publication) -> Finding:
    ways = [
        word
        for word, secrets in (
            ("bearer token", publication.token_hashes),
            ("signed webhooks", publication.signing_secrets),
            ("Ghost", publication.ghost_secrets),
        )
        if secrets
    ]
    words = f"{len(publication.lists)} list(s); open: {', '.join(ways) or 'only `pressrun emit`, no secret is set'}"
    return Finding(True, f"publication {publication.slug}", words)


def _guarded(what: str, look: Callable[[], str]) -> Finding:
    """What it says; or what it raised, which is written to be read."""
    try:
        return Finding(True, what, look())
    except (PressrunError, OSError) as error:
        return Finding(False, what, str(error))


def _templates(system: System) -> str:
    from worker.cli.samples import compile_samples

    mails = [mail for one in system.publications.values() for mail in compile_samples(system, one)]
    warnings = [warning for mail in mails for warning in mail.warnings]
    return f"{len(mails)} compile" + "".join(f"; {warning}" for warning in warnings)


def _database(system: System) -> str:
    from worker.storage.migrate import state

    require_migrated(system.database)
    # a transaction with nothing in it: a read-only disk is seen here, not by the first reader who signs up
    with system.database.write():
        pass
    url = system.database.url.render_as_string(hide_password=True)
    return f"{url}, migration {state(system.database).current}"


def _redis(system: System) -> str:
    from worker.cli.broker import redis_trouble

    trouble = redis_trouble(system.settings, 2)
    if trouble:
        raise PressrunError(trouble)
    policy = _memory_policy(system)
    if policy not in (None, "noeviction"):
        raise PressrunError(f"maxmemory-policy is {policy}: evicted keys break the queues; set it to noeviction")
    return system.settings.redis


def _memory_policy(system: System) -> str | None:
    from redis.exceptions import RedisError

    try:
        policy: str | None = system.redis.config_get("maxmemory-policy").get("maxmemory-policy")
    except RedisError:  # providers of Redis as a service often forbid to look
        return None
    return policy


def _way_out(system: System, send_to: str | None) -> Iterator[Finding]:
    from worker.delivery.transports.choice import is_direct

    try:
        direct = is_direct(system.settings.smtp_url)
    except PressrunError as error:
        yield Finding(False, "relay", str(error))
        return
    if not direct:
        yield _guarded("relay", lambda: asyncio.run(_reach(system, "")))
        return
    yield _helo(system)
    yield _guarded("mail servers", lambda: asyncio.run(_reach(system, (send_to or _ASKED).rpartition("@")[2].lower())))


def _helo(system: System) -> Finding:
    name = system.settings.smtp_helo
    if name:
        return Finding(True, "helo", f"{name}; whether the sending address resolves back to it (PTR), receivers see")
    words = "unset; give PRESSRUN_SMTP_HELO the name that the sending address resolves back to (PTR): Gmail and others "
    return Finding(system.settings.environment != "production", "helo", words + "refuse mail without")


async def _reach(system: System, domain: str) -> str:
    """Open a connection, and close it again."""
    connection = await _open(system, domain)
    await connection.close()
    where = system.settings.smtp_url if not domain else f"port {system.settings.smtp_mx_port} of {domain}'s"
    return f"{where} takes mail"


async def _open(system: System, domain: str) -> Connection:
    from worker.delivery.transports.base import RELAY, HopUnavailable

    transport = system.transport
    hop = transport.relay or (await transport.find(domain) if domain else RELAY)
    try:
        return await transport.open(hop)
    except HopUnavailable as error:
        if transport.relay is None:
            fix = "many networks block port 25 outwards: ask yours, or hand over to a relay"
        else:
            fix = "correct its login or TLS" if error.configuration else "start that server, or correct the URL"
        raise PressrunError(f"PRESSRUN_SMTP_URL: {error}; {fix}") from None


def _test_mail(system: System, publication: Publication, to: str) -> str:
    from worker.audience.addresses import parse_address

    return asyncio.run(_send(system, publication, parse_address(to, "--send-to").email))


async def _send(system: System, publication: Publication, to: str) -> str:
    from worker.domain.message import Envelope, Message
    from worker.domain.replies import Outcome

    message = Message(_message(system, publication, to))
    connection = await _open(system, to.rpartition("@")[2])
    try:
        sender = f"postmaster@{publication.sender.return_domain}"
        exchange = await connection.send(Envelope(sender, to), message, lambda: None)
    finally:
        await connection.close()
    if exchange.judgement.outcome is not Outcome.ACCEPTED:
        raise PressrunError(f"{to} was not accepted: {exchange.reply or exchange.detail}")
    return f"{to} was accepted: {exchange.reply}; look at its headers for dkim=pass and dmarc=pass"


def _message(system: System, publication: Publication, to: str) -> bytes:
    message = EmailMessage(policy=SMTP)
    message["From"] = f'"{publication.sender.name}" <{publication.sender.email}>'
    message["To"] = to
    message["Subject"] = f"{publication.name}: a test of the relay"
    message["Date"] = format_datetime(system.clock.now())
    message["Message-ID"] = make_msgid(domain=publication.sender.domain)
    message.set_content("This mail was sent by `pressrun check --send-to`.\n")
    return message.as_bytes()


COMMANDS = {"check": check}
