"""A campaign over its day's allowance: it rests until the next day, is not late, and goes on when there is room."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import cast

import pytest
from redis import Redis
from sqlalchemy import select, update

from tests.ledger import assert_counters_agree, seed_campaign, statuses
from tests.smtpd import SmtpServer
from worker.bootstrap import build
from worker.campaigns.progress import campaign_view, queue_view
from worker.delivery.limits import Limits
from worker.delivery.throttling import Limit
from worker.domain.clock import SystemClock
from worker.domain.doorbell import RecordingDoorbell
from worker.domain.warmup import NO_WARMUPS, Warmup, Warmups
from worker.settings import Settings
from worker.station import Station
from worker.storage.database import Database
from worker.storage.models import CampaignRow, WarmupDayRow

MONDAY = date(2025, 2, 10)
TUESDAY = datetime(2025, 2, 11, tzinfo=UTC)


class Shifted(SystemClock):
    """The machine's clocks, on another day: it began at noon of the warm-up's first."""

    def __init__(self) -> None:
        self._ahead = datetime(2025, 2, 10, 12, tzinfo=UTC) - super().now()

    def now(self) -> datetime:
        return super().now() + self._ahead

    def shift(self, **delta: float) -> None:
        self._ahead += timedelta(**delta)


def warming(*schedule: int) -> Warmups:
    return {"daily": Warmup("blog.example", MONDAY, schedule, 0.1)}


class Process:
    """One worker process's parts in this one."""

    def __init__(self, station: Station, clock: Shifted, doorbell: RecordingDoorbell) -> None:
        self.station = station
        self.clock = clock
        self.doorbell = doorbell

    def ring(self) -> int:
        """Everything that is rung for, until nothing is; how many turns that were."""
        turns = 0
        self.station.system.slots.wake()
        while self.doorbell.rings:
            what, slot, number, campaign_id = cast("tuple[str, int, int, int]", self.doorbell.rings.pop())
            assert what == "bulk"
            self.station.chain.run(slot, number, campaign_id)
            turns += 1
        self.station.press.drain(20)
        return turns


@pytest.fixture
def process(
    make_settings: Callable[..., Settings], database_url: str, redis_url: str
) -> Iterator[Callable[[str, Warmups], Process]]:
    made: list[Station] = []

    def make(smtp_url: str, warmups: Warmups) -> Process:
        settings = make_settings(
            PRESSRUN_DATABASE_URL=database_url, PRESSRUN_REDIS_URL=redis_url, PRESSRUN_SMTP_URL=smtp_url,
            PRESSRUN_SMTP_CONNECTIONS="4", PRESSRUN_BULK_PROCESSES="1",
        )  # fmt: skip
        clock, doorbell = Shifted(), RecordingDoorbell()
        system = build(settings, os.environ, doorbell)
        system.clock = clock
        system.__dict__["warmups"] = warmups
        made.append(Station(system))
        return Process(made[-1], clock, doorbell)

    yield make
    for one in made:
        one.close()
        one.system.database.close()


def rests_until(database: Database) -> datetime | None:
    with database.read() as connection:
        found: datetime | None = connection.execute(select(CampaignRow.rests_until)).scalar_one()
    return found


def test_what_is_over_waits_for_the_next_day(
    process: Callable[[str, Warmups], Process], database: Database, redis_client: Redis
) -> None:
    """Day by day, with Redis emptied in between; the campaign rests, is looked at no more, and is no finding."""
    with SmtpServer() as server:
        one = process(server.url, warming(20, 30))
        one.station.system.__dict__["limits"] = Limits(Limit("overall", 1000, 1.0), None, {}, {})
        seeded = seed_campaign(database, one.clock.now(), 100)
        assert one.ring() == 1
        assert len(server.messages) == 18
        assert rests_until(database) == TUESDAY
        redis_client.flushdb()
        one.clock.shift(hours=11, minutes=59)
        assert one.ring() == 0
        assert one.station.sweep.run()["held_for_nothing"] == 0
        assert statuses(database) == {"sent": 18, "queued": 82}
        with database.read() as connection:
            assert queue_view(connection, one.clock.now())["bulk"] == {"depth": 0, "oldest_s": 0.0}
            view = campaign_view(connection, seeded.campaign_id, one.clock.now())
        assert (view["status"], view["eta_s"]) == ("sending", None)
        one.clock.shift(minutes=1)
        assert one.ring() == 1
        assert statuses(database) == {"sent": 18 + 27, "queued": 55}
        redis_client.flushdb()
        one.clock.shift(hours=24)
        one.ring()
        assert statuses(database) == {"sent": 100}
        assert len({message.rcpt for message in server.messages}) == len(server.messages) == 100
    assert_counters_agree(database)


def test_a_restart_forgets_nothing(process: Callable[[str, Warmups], Process], database: Database) -> None:
    with SmtpServer() as server:
        first = process(server.url, warming(20))
        seed_campaign(database, first.clock.now(), 50)
        first.ring()
        second = process(server.url, warming(20))
        with database.write() as connection:
            connection.execute(update(CampaignRow).values(rests_until=None))
        second.ring()
        assert len(server.messages) == 18
    assert rests_until(database) == TUESDAY


@pytest.mark.parametrize("why", ["came back", "schedule raised", "warm-up ended", "clock was ahead"])
def test_it_goes_on_before_that_where_there_is_room_again(
    process: Callable[[str, Warmups], Process], database: Database, why: str
) -> None:
    with SmtpServer() as server:
        one = process(server.url, warming(20))
        seed_campaign(database, one.clock.now(), 50)
        one.ring()
        with database.write() as connection:
            if why == "came back":
                connection.execute(update(WarmupDayRow).values(used=WarmupDayRow.used - 3))
            if why == "clock was ahead":
                connection.execute(update(WarmupDayRow).values(day=MONDAY + timedelta(days=300)))
                connection.execute(update(CampaignRow).values(rests_until=TUESDAY + timedelta(days=300)))
        system = one.station.system
        if why in ("schedule raised", "warm-up ended"):
            # as read at the next start
            one = process(server.url, warming(40) if why == "schedule raised" else NO_WARMUPS)
            system = one.station.system
        assert one.station.sweep.run()["held_for_nothing"] == 1
        one.ring()
        sent = {"came back": 21, "schedule raised": 36, "warm-up ended": 50, "clock was ahead": 36}[why]
        assert len(server.messages) == sent
        assert one.station.sweep.run()["held_for_nothing"] == 0
    assert system.clock.now() < TUESDAY


def test_another_domain_goes_on_meanwhile(process: Callable[[str, Warmups], Process], database: Database) -> None:
    with SmtpServer() as server:
        one = process(server.url, warming(20))
        publications = one.station.system.publications
        one.station.system.__dict__["publications"] = {**publications, "weekly": publications["daily"]}
        seed_campaign(database, one.clock.now(), 50)
        seed_campaign(database, one.clock.now(), 40, publication="weekly", post_id="post-2")
        one.ring()
        assert len(server.messages) == 18 + 40
