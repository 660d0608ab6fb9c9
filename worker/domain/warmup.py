"""Warm-up: a new sending domain sends a little more each day, until mailbox providers know it.

A day is UTC's. Every host and every publication of a domain means the same by it, and each has 24 hours: in a time
zone two days a year have 23 or 25, and an allowance for each would not be the same pace.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from types import MappingProxyType

from worker.domain.publication import Publication

# The first week is Resend's for a new domain (resend.com/docs/knowledge-base/warming-up); from there 1.4 times as
# much a day, which is SendGrid's pace (its automated warm-up of an address), below the doubling that Google warns
# of (support.google.com/mail/answer/81126). Four weeks: who has fewer readers is through sooner.
DEFAULT_SCHEDULE = (
    150, 250, 400, 700, 1_000, 1_500, 2_000,
    2_800, 3_900, 5_400, 7_500, 10_500, 14_500, 20_000,
    28_000, 39_000, 54_000, 75_000, 105_000, 145_000, 200_000,
    280_000, 390_000, 540_000, 750_000, 1_050_000, 1_450_000, 2_000_000,
)  # fmt: skip

class Lane(StrEnum):
    """What is counted apart: who sends a confirmation must not wait for a bulk claim's counter."""

    BULK = "bulk"
    TRANSACTIONAL = "transactional"


# More than anybody sends in a day, and days enough for the most careful.
MOST_A_DAY = 1_000_000_000
MOST_DAYS = 366


@dataclass(frozen=True, slots=True)
class Warmup:
    """A sending domain that is new. `schedule`: mails a day, the first day's first; behind its last day no limit.

    `kept`: the part of each day's allowance that bulk mail leaves for transactional mail.
    """

    domain: str
    start: date
    schedule: tuple[int, ...]
    kept: float

    def day(self, today: date) -> int:
        """Which day of the warm-up that is: 1 at its start, 0 or less before."""
        return (today - self.start).days + 1

    def allowance(self, today: date) -> int | None:
        """Mails that day, None when the warm-up is over.

        A day before the start has the first day's: the domain is as new then, and a clock that is set back over
        the start must not open it.
        """
        day = max(1, self.day(today))
        return self.schedule[day - 1] if day <= len(self.schedule) else None

    def room(self, today: date, bulk: int = 0, transactional: int = 0) -> int | None:
        """Bulk mails that may still go that day, where so many of both lanes went; None when the warm-up is over.

        Transactional mail is not held back, since a reader waits for it: what went beyond its part is bulk's loss.
        """
        allowance = self.allowance(today)
        if allowance is None:
            return None
        return max(0, allowance - max(transactional, int(allowance * self.kept)) - bulk)

    def last_day(self, today: date, waiting: int) -> date | None:
        """When the last of so many bulk mails goes that wait for the days behind `today`; None: not in a year."""
        for ahead in range(1, MOST_DAYS + 1):
            room = self.room(today + timedelta(days=ahead))
            if room is None or waiting <= room:
                return today + timedelta(days=ahead)
            waiting -= room
        return None


Warmups = Mapping[str, Warmup]
"""By publication; those that send by one domain have the same."""

NO_WARMUPS: Warmups = MappingProxyType({})


def day_of(now: datetime) -> date:
    """The day whose allowance holds at that moment."""
    return now.astimezone(UTC).date()


def next_day(now: datetime) -> datetime:
    """When the next day's allowance begins."""
    return datetime.combine(day_of(now) + timedelta(days=1), datetime.min.time(), UTC)


def warmups_of(publications: Iterable[Publication], schedule: tuple[int, ...], kept: float) -> Warmups:
    """By publication: where one says that its domain is new, it is so for all that send by it.

    `schedule` is for those without one of their own.
    """
    publications = list(publications)
    new = {
        one.sender.domain: Warmup(one.sender.domain, one.warmup.start, one.warmup.schedule or schedule, kept)
        for one in publications
        if one.warmup is not None
    }
    return {one.slug: new[one.sender.domain] for one in publications if one.sender.domain in new}


def checked_schedule(schedule: Sequence[int]) -> tuple[int, ...]:
    """As it was given. Raises `ValueError` with what is allowed."""
    numbers = all(1 <= mails <= MOST_A_DAY for mails in schedule)
    if not (numbers and 1 <= len(schedule) <= MOST_DAYS and list(schedule) == sorted(schedule)):
        raise ValueError(
            f"mails a day for 1 to {MOST_DAYS} days, such as 150, 250, 400: whole numbers from 1 to {MOST_A_DAY}, "
            "none smaller than the one before it"
        )
    return tuple(schedule)


def jumps(schedule: Sequence[int]) -> list[int]:
    """Days with more than twice the mails of the day before (2 is the second day)."""
    return [day for day in range(2, len(schedule) + 1) if schedule[day - 1] > 2 * schedule[day - 2]]
