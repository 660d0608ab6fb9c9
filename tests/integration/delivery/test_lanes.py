"""Both lanes when something fails in the middle of a claim, or stands in the way."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import insert, select, update

from tests.ledger import assert_counters_agree, seed_campaign, statuses
from tests.smtpd import SmtpServer
from worker.bootstrap import build
from worker.delivery import queries, transactional
from worker.delivery.claim import MAX_CLAIMS, Claim, Claimer
from worker.delivery.composing import CompiledParcel, Composer
from worker.delivery.journal import Journal
from worker.delivery.limits import Limits
from worker.delivery.pace import Pace
from worker.delivery.parcels import Claimed
from worker.delivery.press import Press
from worker.delivery.throttling import Grant, Limit, LimiterUnavailable, RedisLimiter
from worker.domain.breaker import Admission
from worker.domain.clock import SystemClock
from worker.domain.delivery import Kind
from worker.domain.doorbell import RecordingDoorbell
from worker.domain.errors import PermanentError
from worker.settings import Settings
from worker.station import Station
from worker.storage.database import Database, DatabaseUnavailable
from worker.storage.models import DeliveryRow, SuppressionRow
from worker.storage.outbox import Outgoing, put

# a grant of several tokens, more than there are rows
OVERALL = Limits(Limit("overall", 1000, 1.0), None, {}, {})


@pytest.fixture
def station(
    make_settings: Callable[..., Settings], database_url: str, redis_url: str
) -> Iterator[Callable[[str], Station]]:
    with ExitStack() as stack:

        def make(smtp_url: str) -> Station:
            settings = make_settings(
                PRESSRUN_DATABASE_URL=database_url, PRESSRUN_REDIS_URL=redis_url, PRESSRUN_SMTP_URL=smtp_url,
                PRESSRUN_SMTP_CONNECTIONS="4",
            )  # fmt: skip
            system = build(settings, os.environ, RecordingDoorbell())
            stack.callback(system.database.close)
            one = Station(system)
            stack.callback(one.close)
            return one

        yield make


def put_mails(database: Database, n: int, destination: str, campaign_id: int) -> None:
    """Test mails: transactional ones that need no subscriber."""
    with database.write() as connection:
        for i in range(n):
            key = f"{destination}:{i}"
            put(connection, Outgoing("daily", Kind.TEST, f"to{i}@{destination or 'other'}.example", destination, key,
                                     None, shows_campaign_id=campaign_id), SystemClock().now())  # fmt: skip


def test_a_database_that_goes_away_behind_the_claim_leaves_nothing_sending(
    station: Callable[[str], Station], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The post is read after the claim. Its rows must go back, not be held by a lease that is renewed for ever."""

    def away(_self: Composer, _claimed: Claimed) -> CompiledParcel:
        raise DatabaseUnavailable("database: away")

    with SmtpServer() as server:
        one = station(server.url)
        seeded = seed_campaign(database, one.system.clock.now(), 3)
        with monkeypatch.context() as patch:
            patch.setattr(Composer, "mail_for", away)
            with pytest.raises(DatabaseUnavailable):
                one.bulk.turn(seeded.campaign_id)
        assert one.press._recorder.wait_idle(10)
        assert statuses(database) == {"queued": 3}
        one.bulk.turn(seeded.campaign_id)
        assert len(server.messages) == 3
    assert_counters_agree(database)


def test_a_campaign_that_cannot_even_be_failed_leaves_nothing_sending(
    station: Callable[[str], Station], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise DatabaseUnavailable("database: away")

    one = station("smtp://127.0.0.1:1")
    one.system.__dict__["publications"] = {}
    seeded = seed_campaign(database, one.system.clock.now(), 3)
    monkeypatch.setattr(queries, "fail_campaign", away)
    with pytest.raises(DatabaseUnavailable):
        one.bulk.turn(seeded.campaign_id)
    assert one.press._recorder.wait_idle(10)
    assert statuses(database) == {"queued": 3}


@pytest.fixture
def admitted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """By destination, what breakers admitted and was not landed as unused."""
    admit, unused = Press.admit, Press.unused
    admitted: Counter[str] = Counter()

    def admitting(self: Press, destination: str, wanted: int) -> Admission:
        admission = admit(self, destination, wanted)
        admitted[destination] += admission.messages
        return admission

    def landing(self: Press, destination: str, messages: int) -> None:
        admitted[destination] -= messages
        unused(self, destination, messages)

    monkeypatch.setattr(Press, "admit", admitting)
    monkeypatch.setattr(Press, "unused", landing)
    return admitted


@pytest.mark.parametrize("lane", ["bulk", "transactional"])
def test_a_limiter_that_fails_behind_the_claim_holds_up_nothing(
    station: Callable[[str], Station], database: Database, monkeypatch: pytest.MonkeyPatch, admitted: Counter[str],
    lane: str,
) -> None:  # fmt: skip
    """Redis dies between the tokens and what is given back of them: what is claimed goes out all the same."""

    def dead(_self: RedisLimiter, _limits: Sequence[Limit], _grant: Grant, _unused: int) -> None:
        raise LimiterUnavailable("rate limits: Redis does not answer")

    monkeypatch.setattr(RedisLimiter, "give_back", dead)
    with SmtpServer() as server:
        one = station(server.url)
        one.system.__dict__["limits"] = OVERALL
        seeded = seed_campaign(database, one.system.clock.now(), 1)
        put_mails(database, 2, "", seeded.campaign_id)
        with database.write() as connection:
            # one token of the two is not used
            connection.execute(insert(SuppressionRow).values(
                address="to1@other.example", publication="daily", reason="operator", created_at=SystemClock().now()
            ))  # fmt: skip
        send = partial(one.bulk.turn, seeded.campaign_id) if lane == "bulk" else one.transactional.run
        with pytest.raises(LimiterUnavailable):
            send()
        server.wait_for(lambda one: len(one.messages) == 1)
    assert admitted[""] == 1


def seed_both(database: Database, one: Station, slow: int, others: int) -> int:
    """A campaign with so many rows for google, which has a limit, and so many others."""
    seeded = seed_campaign(database, one.system.clock.now(), slow + others)
    with database.write() as connection:
        connection.execute(
            update(DeliveryRow).where(DeliveryRow.id.in_(seeded.deliveries[:slow])).values(destination="google")
        )
    return seeded.campaign_id


@pytest.fixture
def claims(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, int]]:
    """Of each claim, how many rows it took for each destination."""
    claims: list[dict[str, int]] = []
    campaign = Claimer.campaign

    def seen(self: Claimer, campaign_id: int, wanted: Mapping[str, int]) -> Claim | None:
        claim = campaign(self, campaign_id, wanted)
        claims.append({name: claim.taken(name) for name in wanted} if claim else {})
        return claim

    monkeypatch.setattr(Claimer, "campaign", seen)
    return claims


GOOGLE = Limits(None, None, {}, {"google": Limit("destination:google", 10, 1.0)})
"""Ten claims a second of one row each would cost the others as much as two hundred of their mails."""


def test_a_destination_of_few_mails_a_second_shares_its_claims(
    station: Callable[[str], Station], database: Database, claims: list[dict[str, int]]
) -> None:
    with SmtpServer() as server:
        one = station(server.url)
        one.system.__dict__["limits"] = GOOGLE
        one.bulk.turn(seed_both(database, one, 5, 30))
        server.wait_for(lambda one: len(one.messages) == 35)
        one.press.drain(10)
    assert claims[0] == {"": 8, "google": 1}
    assert_counters_agree(database)


def test_others_have_their_portion_of_a_claim_that_is_made_anyway(
    station: Callable[[str], Station], database: Database, claims: list[dict[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_worth_one(self: Pace, destination: str, waiting: int) -> int:
        return self.spare(destination, waiting) if destination == "google" else 0

    monkeypatch.setattr(Pace, "room", not_worth_one)
    with SmtpServer() as server:
        one = station(server.url)
        one.system.__dict__["limits"] = GOOGLE
        # google has a row for each tenth of a second, the others for some of those
        one.bulk.turn(seed_both(database, one, 40, 30))
        one.press.drain(10)
    assert all(one.get("google") for one in claims if one.get("")), claims
    assert sum(one.get("", 0) for one in claims) >= 12
    assert claims[0] == {"google": 1, "": 8}
    assert_counters_agree(database)


def test_a_limiter_that_fails_keeps_no_admission(
    station: Callable[[str], Station], database: Database, monkeypatch: pytest.MonkeyPatch, admitted: Counter[str]
) -> None:
    """An admission nobody lands would keep a breaker that tries its destination again from ever being whole."""

    def failing(_self: RedisLimiter, _requests: Sequence[tuple[Sequence[Limit], int]]) -> list[Grant]:
        raise LimiterUnavailable("rate limits: Redis does not answer")

    monkeypatch.setattr(RedisLimiter, "take_each", failing)
    one = station("smtp://127.0.0.1:1")
    one.system.__dict__["limits"] = GOOGLE
    campaign_id = seed_both(database, one, 3, 3)
    with pytest.raises(LimiterUnavailable):
        one.bulk.turn(campaign_id)
    assert admitted == {"": 0, "google": 0}
    assert statuses(database) == {"queued": 6}


@pytest.mark.parametrize("lane", ["bulk", "transactional"])
def test_a_claim_that_cannot_be_sent_keeps_no_admission_and_no_token(
    station: Callable[[str], Station], database: Database, monkeypatch: pytest.MonkeyPatch, admitted: Counter[str],
    lane: str,
) -> None:  # fmt: skip
    """The database goes away between two mails: what was admitted and granted comes back once, and none is sent."""
    mail_for = Composer.mail_for

    def away(self: Composer, claimed: Claimed) -> CompiledParcel:
        if claimed.address.startswith(("reader1.", "to1@")):
            raise DatabaseUnavailable("database: away")
        return mail_for(self, claimed)

    with SmtpServer() as server:
        one = station(server.url)
        one.system.__dict__["limits"] = Limits(Limit("overall", 3_600_000, 3600), None, {}, {})
        seeded = seed_campaign(database, one.system.clock.now(), 3)
        put_mails(database, 3 if lane == "transactional" else 0, "", seeded.campaign_id)
        send = partial(one.bulk.turn, seeded.campaign_id) if lane == "bulk" else one.transactional.run
        with monkeypatch.context() as patch:
            patch.setattr(Composer, "mail_for", away)
            with pytest.raises(DatabaseUnavailable):
                send()
            assert one.press._recorder.wait_idle(10)
        assert admitted[""] == len(server.messages) == 0
        send()
        assert one.press._recorder.wait_idle(10)
        assert admitted[""] == len(server.messages) == 3
        assert one.system.limiter.state(["overall"])[0].used == 3
    assert_counters_agree(database)


def test_a_mail_that_cannot_be_made_and_a_campaign_that_cannot_be_failed_keep_no_admission(
    station: Callable[[str], Station], database: Database, monkeypatch: pytest.MonkeyPatch, admitted: Counter[str]
) -> None:
    mail_for = Composer.mail_for

    def unmakeable(self: Composer, claimed: Claimed) -> CompiledParcel:
        if claimed.address.startswith("reader1."):
            raise PermanentError("cannot be made")
        return mail_for(self, claimed)

    def away(*_: object) -> None:
        raise DatabaseUnavailable("database: away")

    monkeypatch.setattr(Composer, "mail_for", unmakeable)
    with SmtpServer() as server:
        one = station(server.url)
        seeded = seed_campaign(database, one.system.clock.now(), 3)
        with monkeypatch.context() as patch:
            patch.setattr(queries, "fail_campaign", away)
            with pytest.raises(DatabaseUnavailable):
                one.bulk.turn(seeded.campaign_id)
        assert one.press._recorder.wait_idle(10)
        assert admitted[""] == len(server.messages) == 0
        assert statuses(database) == {"queued": 3}
        one.bulk.turn(seeded.campaign_id)
        assert one.press._recorder.wait_idle(10)
        assert admitted[""] == len(server.messages) == 2
    assert statuses(database) == {"queued": 1, "sent": 2}
    assert_counters_agree(database)


def test_those_that_a_suspect_went_before_come_first(
    station: Callable[[str], Station], database: Database, claims: list[dict[str, int]]
) -> None:
    """Also where the claim ended a row of another: it has not had its turn."""
    with SmtpServer() as server:
        one = station(server.url)
        one.system.__dict__["limits"] = Limits(None, None, {}, {
            "google": Limit("destination:google", 10, 1.0), "other": Limit("destination:other", 10, 1.0)
        })  # fmt: skip
        campaign_id = seed_both(database, one, 2, 4)
        with database.write() as connection:
            suspect = update(DeliveryRow).where(DeliveryRow.destination == "google")
            connection.execute(suspect.values(claims=MAX_CLAIMS - 1))
            connection.execute(insert(SuppressionRow).values(
                address="reader2.post-1@example.com", publication="daily", reason="operator",
                created_at=SystemClock().now(),
            ))  # fmt: skip
        claim = one.press.claimer.campaign(campaign_id, {"": 3, "google": 1})
        assert claim is not None
        assert (claim.taken(""), claim.ended, {*claim.passed_over}, {*claim.without}) == (2, 1, {"google"}, set())
        claim = one.press.claimer.campaign(campaign_id, {"other": 1, "google": 1, "": 1})
        assert claim is not None
        assert (claim.taken("google"), {*claim.passed_over}, {*claim.without}) == (1, {""}, {"other"})


def test_a_suspect_of_the_transactional_lane_goes_alone(station: Callable[[str], Station], database: Database) -> None:
    one = station("smtp://127.0.0.1:1")
    seeded = seed_campaign(database, one.system.clock.now(), 0)
    put_mails(database, 3, "", seeded.campaign_id)
    with database.write() as connection:
        connection.execute(update(DeliveryRow).where(DeliveryRow.address.like("to1@%")).values(claims=MAX_CLAIMS - 1))
        ids = connection.execute(select(DeliveryRow.id).where(DeliveryRow.kind == Kind.TEST)).scalars().all()
    claimed = [one.press.claimer.transactional(ids) for _ in range(2)]
    assert [sorted(row.address for row in claim.claimed) if claim else [] for claim in claimed] == [
        ["to1@other.example"], ["to0@other.example", "to2@other.example"]
    ]  # fmt: skip


def test_a_suspect_and_the_others_have_their_turns(
    station: Callable[[str], Station], database: Database, claims: list[dict[str, int]]
) -> None:
    """What two kills left may be a mail that kills: alone, one after the other, with the others in between."""
    with SmtpServer() as server:
        one = station(server.url)
        # at most so many that nobody's room is used up by one claim
        one.system.__dict__["limits"] = Limits(None, None, {}, {"google": Limit("destination:google", 100, 1.0)})
        campaign_id = seed_both(database, one, 3, 40)
        with database.write() as connection:
            suspects = update(DeliveryRow).where(DeliveryRow.destination == "google")
            connection.execute(suspects.values(claims=MAX_CLAIMS - 1))
        one.bulk.turn(campaign_id)
        server.wait_for(lambda one: len(one.messages) == 43)
        one.press.drain(10)
    alone = [number for number, one in enumerate(claims) if one.get("google")]
    assert [sum(claims[number].values()) for number in alone] == [1, 1, 1]
    assert_counters_agree(database)


def test_admissions_are_as_many_as_mails_handed_over(
    station: Callable[[str], Station], database: Database, admitted: Counter[str]
) -> None:
    """Whatever the limits refused, was not queued any more, or came to an end when it was looked at."""
    with SmtpServer() as server:
        one = station(server.url)
        one.system.__dict__["limits"] = GOOGLE
        campaign_id = seed_both(database, one, 5, 30)
        with database.write() as connection:
            connection.execute(insert(SuppressionRow).values(
                address="reader7.post-1@example.com", publication="daily", reason="operator",
                created_at=SystemClock().now(),
            ))  # fmt: skip
        one.bulk.turn(campaign_id)
        server.wait_for(lambda one: len(one.messages) == 34)
        one.press.drain(10)
    assert admitted == {"": 29, "google": 5}


def test_a_database_that_goes_away_returns_the_tokens(
    station: Callable[[str], Station], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit of a few an hour would be eaten by an hour without a database."""

    def away(*_: object) -> None:
        raise DatabaseUnavailable("database: away")

    monkeypatch.setattr(Claimer, "campaign", away)
    one = station("smtp://127.0.0.1:1")
    one.system.__dict__["limits"] = Limits(None, None, {}, {"google": Limit("destination:google", 5, 3600)})
    campaign_id = seed_both(database, one, 3, 3)
    with pytest.raises(DatabaseUnavailable):
        one.bulk.turn(campaign_id)
    assert one.system.limiter.state(["destination:google"])[0].used == 0


def test_a_shut_destination_with_pages_of_mail_does_not_hide_what_is_behind_it(
    station: Callable[[str], Station], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transactional, "PEEK", 5)
    with SmtpServer() as server:
        one = station(server.url)
        one.system.__dict__["limits"] = Limits(None, None, {}, {"slow": Limit("destination:slow", 1, 3600)})
        seeded = seed_campaign(database, one.system.clock.now(), 0)
        put_mails(database, 40, "slow", seeded.campaign_id)
        put_mails(database, 2, "", seeded.campaign_id)
        one.transactional.run()
        server.wait_for(lambda one: len(one.messages) >= 2)
        one.press.drain(10)
        domains = [message.rcpt.partition("@")[2] for message in server.messages]
    assert domains.count("other.example") == 2
    assert domains.count("slow.example") <= 2
    assert_counters_agree(database)


def test_a_process_begins_with_what_the_dead_of_its_host_left(
    station: Callable[[str], Station], database: Database
) -> None:
    """On several hosts the sweeps may all be another one's, which cannot read these journals."""
    one = station("smtp://127.0.0.1:1")
    seeded = seed_campaign(database, one.system.clock.now(), 2)
    journal = Journal(one.system.settings.journal_dir)
    claim = Claimer(database, SystemClock(), journal.owner, timedelta(seconds=30)).campaign(seeded.campaign_id, {"": 9})
    assert claim is not None
    os.close(journal._fd)
    assert one.press.room("") > 0
    assert statuses(database) == {"queued": 2}
