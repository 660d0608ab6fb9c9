"""The warm-up's arithmetic: which day it is, what may go on it, what is left for bulk mail."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from tests.servers import REPOSITORY
from worker.domain.publication import Publication, WarmupStart
from worker.domain.warmup import (
    DEFAULT_SCHEDULE,
    MOST_DAYS,
    Warmup,
    checked_schedule,
    day_of,
    jumps,
    next_day,
    warmups_of,
)
from worker.publications import load_publications

START = date(2025, 2, 9)
WARMUP = Warmup("blog.example", START, (150, 250, 400), 0.1)


def on(day: int) -> date:
    return START + timedelta(days=day - 1)


@pytest.mark.parametrize(
    ("day", "allowance"), [(-300, 150), (0, 150), (1, 150), (2, 250), (3, 400), (4, None), (400, None)]
)
def test_each_day_has_its_allowance_and_the_time_behind_has_none(day: int, allowance: int | None) -> None:
    """A day before the start has the first one's: the domain is no older then."""
    assert WARMUP.day(on(day)) == day
    assert WARMUP.allowance(on(day)) == allowance


@pytest.mark.parametrize(
    ("bulk", "transactional", "room"),
    [
        (0, 0, 135),
        # its part is kept for transactional mail whether it has come or not
        (0, 15, 135),
        (100, 15, 35),
        (135, 0, 0),
        # what goes beyond its part is bulk's loss
        (0, 20, 130),
        (100, 40, 10),
        (100, 60, 0),
        (135, 400, 0),
    ],
)
def test_bulk_leaves_room_for_transactional_mail(bulk: int, transactional: int, room: int) -> None:
    assert WARMUP.room(START, bulk, transactional) == room


def test_an_allowance_of_one_is_not_kept_from_bulk() -> None:
    assert Warmup("blog.example", START, (1,), 0.1).room(START) == 1


def test_after_the_last_day_there_is_no_limit() -> None:
    assert WARMUP.room(on(4), 10**9, 10**9) is None


@pytest.mark.parametrize(
    ("waiting", "last"), [(1, 2), (225, 2), (226, 3), (585, 3), (586, 4), (10_000_000, 4)]
)
def test_the_day_on_which_the_last_one_goes(waiting: int, last: int) -> None:
    assert WARMUP.last_day(START, waiting) == on(last)


def test_a_last_day_beyond_a_year_is_not_told() -> None:
    assert Warmup("blog.example", date(2999, 1, 1), (1,), 0.1).last_day(START, 1000) is None


def test_a_day_is_utcs_wherever_its_clock_stands() -> None:
    late = datetime(2025, 2, 9, 23, 30, tzinfo=timezone(timedelta(hours=-3)))
    assert day_of(late) == date(2025, 2, 10)
    assert next_day(late) == datetime(2025, 2, 11, tzinfo=UTC)


def test_every_day_has_24_hours() -> None:
    """The day on which Madrid's clocks go forward, too."""
    madrid = datetime(2025, 3, 30, 12, tzinfo=ZoneInfo("Europe/Madrid"))
    assert next_day(madrid) - next_day(madrid - timedelta(days=1)) == timedelta(hours=24)


# -- the schedule


def test_the_default_never_doubles_at_once() -> None:
    assert checked_schedule(DEFAULT_SCHEDULE) == DEFAULT_SCHEDULE
    assert jumps(DEFAULT_SCHEDULE) == []
    assert len(DEFAULT_SCHEDULE) == 28


def test_days_that_more_than_double_are_found() -> None:
    assert jumps((50, 100, 500, 1000, 2001)) == [3, 5]


@pytest.mark.parametrize(
    "wrong", [(), (0,), (-5, 10), (250, 150), (10**9 + 1,), tuple(range(1, MOST_DAYS + 2))], ids=str
)
def test_a_schedule_that_is_none_says_what_is_allowed(wrong: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="mails a day for 1 to 366 days, such as 150, 250, 400: whole numbers"):
        checked_schedule(wrong)


# -- whose it is


@pytest.fixture
def daily() -> Publication:
    return load_publications(REPOSITORY / "config", {})["daily"]


def sending(one: Publication, slug: str, email: str, warmup: WarmupStart | None = None) -> Publication:
    from dataclasses import replace

    return replace(one, slug=slug, sender=replace(one.sender, email=email), warmup=warmup)


def test_publications_of_one_domain_share_its_warmup(daily: Publication) -> None:
    """Whoever of them says so, and however the domain is written; a domain below it is another."""
    found = warmups_of(
        [
            sending(daily, "one", "news@new.example"),
            sending(daily, "two", "post@NEW.example", WarmupStart(START)),
            sending(daily, "below", "news@mail.new.example"),
            sending(daily, "own", "news@own.example", WarmupStart(START, (5, 9))),
            sending(daily, "old", "news@old.example"),
        ],
        (10, 20),
        0.1,
    )
    assert found == {
        "one": Warmup("new.example", START, (10, 20), 0.1),
        "two": Warmup("new.example", START, (10, 20), 0.1),
        "own": Warmup("own.example", START, (5, 9), 0.1),
    }


def test_the_sample_publication_shows_it_commented(tmp_path: Path) -> None:
    """And what is shown is right once it is no comment any more."""
    text = (REPOSITORY / "config" / "publications" / "daily.toml").read_text("utf-8")
    lines = text.splitlines()
    begin = lines.index("#[warmup]")
    shown = [line.removeprefix("#") if line.startswith(("#[", "#start", "#schedule")) else line for line in lines]
    assert [line for line in shown[begin:] if line and not line.startswith("#")][:2] == ["[warmup]", shown[begin + 1]]
    (tmp_path / "publications").mkdir()
    (tmp_path / "publications" / "daily.toml").write_text("\n".join(shown), "utf-8")
    assert load_publications(REPOSITORY / "config", {})["daily"].warmup is None
    warmup = load_publications(tmp_path, {})["daily"].warmup
    assert warmup is not None
    assert warmup.schedule == DEFAULT_SCHEDULE[: len(warmup.schedule)]
