"""From the greeting to the first MAIL FROM: EHLO, STARTTLS, AUTH. All of it belongs to the next hop."""

from __future__ import annotations

import base64
import ssl

from worker.delivery.transports.base import HopUnavailable, TlsUnavailable
from worker.delivery.transports.offers import Offers, read_offers
from worker.delivery.transports.reading import RawReply, read_reply
from worker.delivery.transports.relay import Login, Relay, Tls
from worker.delivery.transports.wire import Wire


async def introduce(wire: Wire, relay: Relay) -> Offers:
    """What may be used from here on. Raises `HopUnavailable`; never goes on without the TLS that was asked for."""
    greeting = await _ask(wire, relay, "", "greeting")
    if read_reply(greeting).code != 220:
        raise HopUnavailable("refused in the greeting", reply=read_reply(greeting))
    offers = await _greet(wire, relay)
    if relay.tls is Tls.STARTTLS and (offers.starttls or not relay.optional):
        await _secure(wire, relay, offers)
        # what was said before TLS is forgotten (RFC 3207 §4.2)
        offers = await _greet(wire, relay)
    if relay.login is not None:
        await _log_in(wire, relay, relay.login, offers)
    return offers


async def _ask(wire: Wire, relay: Relay, command: str, name: str) -> RawReply:
    if command:
        wire.write(command.encode() + b"\r\n")
    replies = await wire.replies(1, relay.connect_timeout)
    if not replies:
        raise HopUnavailable(f"{wire.lost} waiting for the {name}")
    return replies[0]


async def _greet(wire: Wire, relay: Relay) -> Offers:
    lines = await _ask(wire, relay, f"EHLO {relay.helo}", "reply to EHLO")
    reply = read_reply(lines)
    if 200 <= reply.code < 300:
        return read_offers(lines)
    if reply.code < 500:
        raise HopUnavailable("refused at EHLO", reply=reply)
    reply = read_reply(await _ask(wire, relay, f"HELO {relay.helo}", "reply to HELO"))
    if not 200 <= reply.code < 300:
        raise HopUnavailable("refused at HELO", reply=reply)
    return Offers()


async def _secure(wire: Wire, relay: Relay, offers: Offers) -> None:
    if not offers.starttls:
        raise TlsUnavailable("the next hop does not offer STARTTLS", configuration=True)
    reply = read_reply(await _ask(wire, relay, "STARTTLS", "reply to STARTTLS"))
    if reply.code != 220:
        raise TlsUnavailable("STARTTLS refused", reply=reply, configuration=reply.code >= 500)
    if not wire.silent:
        raise TlsUnavailable("bytes in clear after the reply to STARTTLS: someone injects replies", configuration=True)
    assert relay.context is not None  # read_relay makes one whenever TLS is asked for
    try:
        await wire.start_tls(relay.context, relay.host, relay.connect_timeout)
    except OSError as error:
        raise tls_failure(error) from None


def tls_failure(error: OSError) -> TlsUnavailable:
    """A handshake that failed: untrusted and refused are the operator's to mend, a cut line is not."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return TlsUnavailable(f"the certificate is not trusted: {error.verify_message}", configuration=True)
    if isinstance(error, ssl.SSLError):
        return TlsUnavailable(f"no TLS: {error.reason or error}", configuration=True)
    return TlsUnavailable(f"the TLS handshake was cut: {error}")


async def _log_in(wire: Wire, relay: Relay, login: Login, offers: Offers) -> None:
    if "PLAIN" in offers.auth:
        answers = [_b64(f"\0{login.user}\0{login.password}")]
        reply = read_reply(await _ask(wire, relay, f"AUTH PLAIN {answers[0]}", "reply to AUTH"))
    elif "LOGIN" in offers.auth:
        answers = [_b64(login.user), _b64(login.password)]
        reply = read_reply(await _ask(wire, relay, "AUTH LOGIN", "reply to AUTH"))
    else:
        raise HopUnavailable("the next hop does not offer AUTH PLAIN or LOGIN", configuration=True)
    # a 334 after AUTH PLAIN: the server did not take the initial response (RFC 4954 §4)
    for answer in answers:
        if reply.code != 334:
            break
        reply = read_reply(await _ask(wire, relay, answer, "reply to AUTH"))
    if reply.code != 235:
        raise HopUnavailable("the login was refused", reply=reply, configuration=reply.code >= 500)


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode("ascii")
