"""List-bombing: nobody's mailbox is filled by strangers typing its address into our forms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from worker.audience import queries
from worker.audience.addresses import Address

_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class SignUpRules:
    """What sign-ups go by, for all publications together."""

    confirm_lifetime: timedelta
    interval: timedelta
    """Least time between two sign-up mails to one address."""
    per_day: int
    """Sign-up mails to one address in 24 hours."""
    per_ip_hour: int
    """Addresses that one IP may sign up in an hour."""
    group_of: Callable[[str], str]
    """The shaping group of a domain, or ""."""


def why_no_mail(
    connection: Connection, rules: SignUpRules, address: Address, seen_ip: str, subscriber_id: int, now: datetime
) -> str:
    """Which limit forbids a sign-up mail now, in words; empty where none does.

    Called under the address' lock, so that of two sign-ups at once the second sees the first one's mail.
    """
    count, last = queries.sign_up_mails(connection, address.address, address.email, now - _DAY)
    if count >= rules.per_day:
        return f"no mail: this address had {count} sign-up mails within 24 hours; allowed: {rules.per_day}"
    if last is not None and last > now - rules.interval:
        seconds = round(rules.interval.total_seconds())
        return f"no mail: this address had a sign-up mail within the last {seconds} seconds"
    if seen_ip:
        others = queries.others_from_ip(connection, seen_ip, now - _HOUR, subscriber_id, rules.per_ip_hour)
        if others >= rules.per_ip_hour:
            return f"no mail: {others} addresses were signed up from this IP within an hour"
    return ""
