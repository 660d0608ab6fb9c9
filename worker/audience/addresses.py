"""Addresses as people write them, and the one key each stands for. Nothing is looked up in DNS."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

import email_validator
from email_validator import EmailNotValidError, validate_email

from worker.domain.audience import address_key
from worker.domain.errors import InvalidInput

# RFC 5321 §4.5.3.1.3 as corrected by erratum 1690; characters here, the validator counts octets too.
MAX_LENGTH = 254

# Operators try things out with these (RFC 6761 §6.2-6.4, RFC 6762), and relays inside a house use them. What can
# never be mail (.arpa, .onion) stays refused. This list is how the library lets its users choose.
_ACCEPTED_SPECIAL = {"test", "invalid", "localhost", "local"}
email_validator.SPECIAL_USE_DOMAIN_NAMES[:] = [
    name for name in email_validator.SPECIAL_USE_DOMAIN_NAMES if name not in _ACCEPTED_SPECIAL
]

# The validator takes 50 µs, a million rows a minute. What this matches it accepts as well, unchanged (a property
# test holds that); all the rest is left to it: non-ASCII, labels with "--" (A-labels), reserved names.
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_TOP = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z])|[A-Za-z]"
_PLAIN = re.compile(rf"(?P<local>{_ATOM}(?:\.{_ATOM})*)@(?P<domain>(?:{_LABEL}\.)+(?:{_TOP}))")
_NOT_PLAIN = re.compile(r"--|\.(?:arpa|onion)\Z")
_MAX_LOCAL = 64


@dataclass(frozen=True, slots=True)
class Address:
    """One mailbox. Its key says who somebody is, its email where the mail goes."""

    email: str
    """As written to: NFC, the local part in the case it was given in, the domain as A-label."""
    address: str
    """The key: NFC, case-folded, the domain as A-label. 320 characters at most."""
    domain: str
    """As A-label, in small letters."""


def parse_address(text: str, field: str = "email") -> Address:
    """Read one address (RFC 5321 §4.1.2 without quoted local parts, RFC 6531). Spaces around it are dropped.

    Raises `InvalidInput` naming `field`: control characters, over-long, or no address.
    """
    text = text.strip(" ")
    return _plain(text) or _validated(text, field)


def _validated(text: str, field: str) -> Address:
    _refuse_oddities(text, field)
    try:
        found = validate_email(text, check_deliverability=False, strict=True)
    except EmailNotValidError as error:
        # the library ends its sentences, others go on with ours
        raise InvalidInput.of(field, f"is not an email address: {str(error).rstrip('.')}") from None
    domain = found.ascii_domain
    # the validator writes INFO@ as info@; what was given is what is written to
    local = unicodedata.normalize("NFC", found.original.rpartition("@")[0])
    email = f"{local}@{domain}"
    return Address(email, address_key(email), domain)


def _plain(text: str) -> Address | None:
    match = _PLAIN.fullmatch(text)
    if match is None or len(text) > MAX_LENGTH or match.end("local") > _MAX_LOCAL:
        return None
    domain = match["domain"].lower()
    if _NOT_PLAIN.search(domain):
        return None
    local = match["local"]
    return Address(f"{local}@{domain}", f"{local.lower()}@{domain}", domain)


def _refuse_oddities(text: str, field: str) -> None:
    """What must not even reach a library: its answer would quote it."""
    if not text:
        raise InvalidInput.of(field, "is missing; give an address such as ana@example.com")
    if len(text) > MAX_LENGTH:
        raise InvalidInput.of(field, f"is too long; an address has {MAX_LENGTH} characters at most")
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in text):
        raise InvalidInput.of(field, "must not hold line ends, NUL or other control characters")


def mask(address: str) -> str:
    """`a***@example.com`: for logs, and for pages that a stranger may open."""
    local, at, domain = address.rpartition("@")
    return f"{local[:1]}***{at}{domain}" if at else "***"
