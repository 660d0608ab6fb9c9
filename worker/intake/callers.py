"""Whose credential a request carries: a bearer token or a webhook signature of exactly one publication."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping

from worker.domain.publication import Publication
from worker.intake.signatures import Signed, Unauthorised, check_fresh, matches

_NOT_KNOWN = "the token is not known here; it may be cut short or replaced"
_SIGNATURE_HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")


def bearer_caller(publications: Iterable[Publication], authorization: str) -> Publication:
    """The publication whose token stands in an `Authorization` header. Raises `Unauthorised`.

    Only hashes are compared, each of them in full, so that neither the answer nor its time tells of a token.
    """
    digest = bearer_hash(authorization)
    found = None
    for publication in publications:
        for known in publication.token_hashes:
            if hmac.compare_digest(known, digest):
                found = publication
    if found is None:
        raise Unauthorised("authorization", _NOT_KNOWN)
    return found


def check_bearer(token: str, authorization: str) -> None:
    """Raise `Unauthorised` where an `Authorization` header does not carry this very token."""
    if not hmac.compare_digest(hashlib.sha256(token.encode()).hexdigest(), bearer_hash(authorization)):
        raise Unauthorised("authorization", _NOT_KNOWN)


def bearer_hash(authorization: str) -> str:
    """SHA-256 (hex) of the token in an `Authorization` header. Raises `Unauthorised` where there is none."""
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthorised("authorization", "must be `Bearer` and a token")
    return hashlib.sha256(token.strip().encode("latin-1", "replace")).hexdigest()


def signing_caller(
    publications: Iterable[Publication], signed: Signed, body: bytes, now: float, tolerance: float
) -> Publication:
    """The publication whose secret signed this very body. Raises `Unauthorised`."""
    for name, value in zip(_SIGNATURE_HEADERS, (signed.id, signed.timestamp, signed.signatures), strict=True):
        if not value:
            raise Unauthorised(name, f"is missing; a signed request has {', '.join(_SIGNATURE_HEADERS)}")
    check_fresh(signed, now, tolerance)
    found = None
    for publication in publications:
        if matches(publication.signing_secrets, signed, body):
            found = publication
    if found is None:
        raise Unauthorised(
            "webhook-signature", "no known secret signed these bytes; sign `id.timestamp.body` over the body as sent"
        )
    return found


def caller(
    publications: Iterable[Publication], headers: Mapping[str, str], body: bytes, now: float, tolerance: float
) -> Publication:
    """Who sent an event, by either way. Raises `Unauthorised` naming the header."""
    authorization = headers.get("authorization")
    if authorization is not None:
        return bearer_caller(publications, authorization)
    id_, timestamp, signatures = (headers.get(name, "") for name in _SIGNATURE_HEADERS)
    if not (id_ or timestamp or signatures):
        raise Unauthorised(
            "authorization",
            "the request is not signed; send `Authorization: Bearer …` or sign it as a Standard Webhook",
        )
    return signing_caller(publications, Signed(id_, timestamp, signatures), body, now, tolerance)
