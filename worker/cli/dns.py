"""What DNS says about a sender's domain: may this mail come from there at all?"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from worker.cli.findings import Finding
from worker.domain.errors import TemporaryError

Lookup = Callable[[str], list[str] | None]
"""The TXT records of a name: none of them is [], a name that does not exist is None. Raises `NoDns`."""

_SECONDS = 3.0


class NoDns(TemporaryError):
    """Nobody answered."""


def look_up_txt(name: str) -> list[str] | None:
    """Ask this machine's resolvers, for three seconds at most."""
    import dns.exception
    import dns.resolver

    try:
        answer = dns.resolver.resolve(name, "TXT", lifetime=_SECONDS)
    except dns.resolver.NXDOMAIN:
        return None
    except dns.resolver.NoAnswer:
        return []
    except (dns.exception.DNSException, OSError) as error:
        raise NoDns(f"no DNS server answers here ({type(error).__name__}): is there a network?") from None
    return [b"".join(record.strings).decode("utf-8", "replace") for record in answer]


def check_sender(domain: str, look_up: Lookup = look_up_txt) -> Iterator[Finding]:
    """SPF (RFC 7208), DKIM (RFC 6376) and DMARC (RFC 7489) of a sender's domain, one finding each."""
    for what, check in (("SPF", _spf), ("DKIM", _dkim), ("DMARC", _dmarc)):
        try:
            yield check(domain, look_up)
        except NoDns as error:
            yield Finding(False, f"{what} {domain}", str(error))


def _spf(domain: str, look_up: Lookup) -> Finding:
    what = f"SPF {domain}"
    found = [one for one in look_up(domain) or () if one.lower().split(" ")[0] == "v=spf1"]
    if not found:
        return Finding(False, what, f'publish TXT {domain} "v=spf1 include:<your relay\'s> -all"')
    if len(found) > 1:
        # RFC 7208 §4.5: more than one is an error, and none of them counts
        return Finding(False, what, f"{len(found)} records; RFC 7208 §4.5 allows one: join them")
    return Finding(True, what, found[0])


def _dkim(domain: str, look_up: Lookup) -> Finding:
    """Selectors cannot be listed. But where any key is published, the name above it exists (RFC 8020)."""
    what = f"DKIM {domain}"
    if look_up(f"_domainkey.{domain}") is None:
        return Finding(False, what, f"no key below _domainkey.{domain}: publish the one that your relay signs with")
    return Finding(True, what, f"keys are published below _domainkey.{domain}; whether your relay signs, a mail shows")


def _dmarc(domain: str, look_up: Lookup) -> Finding:
    """The domain's own record, else that of the nearest domain above it (RFC 7489 §6.6.3)."""
    what = f"DMARC {domain}"
    labels = domain.split(".")
    for start in range(len(labels) - 1):
        name = "_dmarc." + ".".join(labels[start:])
        found = [one for one in look_up(name) or () if one.lower().replace(" ", "").startswith("v=dmarc1")]
        if found:
            return Finding(True, what, f"{name}: {found[0]}")
    return Finding(False, what, f'publish TXT _dmarc.{domain} "v=DMARC1; p=none; rua=mailto:…", later p=quarantine')
