"""The one place where objects are wired. Everything here is made when it is first asked for."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import cached_property

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from worker.audience.signup import SignUpRules
from worker.audience.unconfirmed import Unconfirmed
from worker.audit.audit import Audit, Broker
from worker.audit.looks import AuditRules
from worker.campaigns.control import Control
from worker.campaigns.dropping import Dropper
from worker.campaigns.opening import CampaignRules
from worker.campaigns.planning import Planner
from worker.campaigns.replay import Replay
from worker.campaigns.turns import Slots
from worker.crew import Crew
from worker.delivery.composing import Composer, Links
from worker.delivery.due import Due
from worker.delivery.gates import Breakers, GatesUnavailable, Leases, RedisBreakers, RedisLeases
from worker.delivery.guard import Guard
from worker.delivery.limits import Limits
from worker.delivery.parcels import Result
from worker.delivery.record import RecordPolicy
from worker.delivery.recover import Recovery
from worker.delivery.throttling import Limit, Limiter, PauseTable, RedisLimiter, Shaping
from worker.delivery.transports.base import Transport
from worker.delivery.transports.choice import Wishes, is_direct
from worker.delivery.transports.smtp import smtp_transport
from worker.delivery.views import DeliveryViews
from worker.delivery.witnesses import FileWitness, RedisWitness
from worker.domain.clock import Clock, SystemClock
from worker.domain.delivery import Kind
from worker.domain.doorbell import KEY_PREFIX, QUEUES, Doorbell
from worker.domain.publication import Publication
from worker.domain.retry import RetryPolicy
from worker.domain.tokens import KeyRing
from worker.domain.warmup import Warmups, warmups_of
from worker.intake.overlooked import overlooked
from worker.intake.receive import Intake
from worker.metrics import Meters
from worker.publications import load_publications
from worker.rendering import MailCompiler, clean_url, post_context, unmakeable_otherwise
from worker.resources import templates_dir
from worker.settings import Settings
from worker.storage.database import Database

# A frozen Redis must not hold up a worker: the limiter fails, the turn ends, the sweep tries again.
REDIS_TIMEOUT_SECONDS = 2.0


class System:
    """All parts of one process. Cheap to make: nothing is opened before it is used."""

    def __init__(self, settings: Settings, environ: Mapping[str, str], doorbell: Doorbell) -> None:
        self.settings = settings
        self.doorbell = doorbell
        self.clock: Clock = SystemClock()
        self._environ = environ

    # -- what others are made of

    @cached_property
    def publications(self) -> Mapping[str, Publication]:
        return load_publications(self.settings.config_dir, self._environ)

    @cached_property
    def database(self) -> Database:
        return Database(self.settings.database)

    @cached_property
    def redis(self) -> redis.Redis:
        return redis.Redis.from_url(
            self.settings.redis, socket_timeout=REDIS_TIMEOUT_SECONDS, socket_connect_timeout=REDIS_TIMEOUT_SECONDS,
            # the library's own three retries would make that 15 s; a take that timed out may have been done, too
            retry=Retry(NoBackoff(), 0),
        )  # fmt: skip

    @cached_property
    def shaping(self) -> Shaping:
        return Shaping.load(self.settings.config_dir / "shaping.toml")

    @cached_property
    def keys(self) -> KeyRing:
        settings = self.settings
        old = {number: key.encode() for number, key in settings.old_secret_keys.items()}
        return KeyRing({**old, settings.secret_key_id: settings.secret_key.encode()}, settings.secret_key_id)

    @property
    def identity_key(self) -> bytes:
        """Message-IDs and return paths must not change when the link key is rotated: the oldest key stays."""
        return self.keys.keys[min(self.keys.keys)]

    @cached_property
    def meters(self) -> Meters:
        return Meters(lambda: self.redis)

    # -- audience, campaigns, intake

    @cached_property
    def signup_rules(self) -> SignUpRules:
        settings = self.settings
        return SignUpRules(
            confirm_lifetime=timedelta(hours=settings.confirm_hours),
            interval=timedelta(seconds=settings.confirmation_interval_seconds),
            per_day=settings.confirmations_per_day,
            per_ip_hour=settings.signups_per_ip_hour,
            group_of=self.shaping.group_of,
        )

    @cached_property
    def campaign_rules(self) -> CampaignRules:
        hours = self.settings.post_max_age_hours
        return CampaignRules(self.settings.campaigns_per_hour, None if hours is None else timedelta(hours=hours))

    @cached_property
    def intake(self) -> Intake:
        return Intake(self.database, self.clock, self.doorbell, self.signup_rules, self.campaign_rules)

    @cached_property
    def control(self) -> Control:
        return Control(self.database, self.clock, self.doorbell, self.slots)

    @cached_property
    def replay(self) -> Replay:
        return Replay(self.database, self.clock, self.doorbell, self.slots)

    @cached_property
    def slots(self) -> Slots:
        settings = self.settings
        return Slots(
            self.database, self.clock, self.doorbell, settings.bulk_slots or settings.bulk_processes,
            lambda: settings.bulk_slots or self.crew.processes(),
        )  # fmt: skip

    @cached_property
    def crew(self) -> Crew:
        return Crew(self.redis)

    @cached_property
    def planner(self) -> Planner:
        groups = [(one.name, one.domains) for one in self.shaping.groups]
        return Planner(
            self.database, self.clock, self.doorbell, self.publications, groups, self._compile_check, self.slots
        )

    def _compile_check(self, publication: Publication, post: Mapping[str, object], list_slug: str) -> None:
        with unmakeable_otherwise():
            self.compiler.compile(publication, Kind.NEW_POST, post_context(publication, post, list_slug=list_slug))

    # -- delivery

    @cached_property
    def compiler(self) -> MailCompiler:
        return MailCompiler(templates_dir())

    @cached_property
    def composer(self) -> Composer:
        links = Links(clean_url(self.settings.base_url), self.keys)
        return Composer(
            self.database, self.compiler, self.publications, links, self.identity_key, self.settings.confirm_hours
        )

    @cached_property
    def transport(self) -> Transport:
        settings = self.settings
        if is_direct(settings.smtp_url):
            # not above: it brings a DNS library, which a relay has no use for
            from worker.delivery.transports.direct import DirectTransport

            return DirectTransport(direct_wishes(settings), self.shaping, self.clock)
        return smtp_transport(
            settings.smtp_url, helo=settings.smtp_helo, connect_timeout=settings.smtp_connect_timeout_seconds,
            timeout=settings.smtp_timeout_seconds, done_timeout=settings.smtp_done_timeout_seconds,
            messages_per_connection=settings.smtp_messages_per_connection,
            verify=settings.smtp_verify, ca_file=settings.smtp_ca_file, connections=settings.smtp_connections_all,
        )  # fmt: skip

    @cached_property
    def limiter(self) -> Limiter:
        return RedisLimiter(self.redis, urgent_share=self.settings.transactional_share)

    @cached_property
    def breakers(self) -> Breakers:
        settings = self.settings
        pauses = PauseTable(self.shaping, settings.retry_base_seconds, settings.retry_cap_seconds)
        return Breakers(RedisBreakers(self.redis), self.clock, pauses.of, self._close_limit)

    def _close_limit(self, gate: str, seconds: float, why: str) -> None:
        """At once for everybody who takes tokens; the breaker itself they see with their next look."""
        if gate.startswith("destination:"):
            self.limiter.pause(gate, seconds, why)

    @cached_property
    def leases(self) -> Leases:
        return RedisLeases(self.redis)

    @cached_property
    def limits(self) -> Limits:
        settings = self.settings
        publications = {
            slug: Limit(f"publication:{slug}", one.limit_per_second, 1.0)
            for slug, one in self.publications.items()
            if one.limit_per_second is not None
        }
        return Limits(
            overall=_per_second("overall", settings.limit_per_second),
            transport=_per_second(f"transport:{self.transport.name}", settings.transport_limit_per_second),
            publications=publications,
            destinations={one.name: one.limit for one in self.shaping.groups if one.limit is not None},
        )

    @cached_property
    def warmups(self) -> Warmups:
        settings = self.settings
        return warmups_of(self.publications.values(), settings.warmup_schedule, settings.transactional_share)

    @cached_property
    def record_policy(self) -> RecordPolicy:
        settings = self.settings
        retry = RetryPolicy(
            base=timedelta(seconds=settings.retry_base_seconds),
            cap=timedelta(seconds=settings.retry_cap_seconds),
            lifetime=timedelta(hours=settings.retry_hours),
        )
        return RecordPolicy(retry, settings.unknown_bulk, settings.unknown_transactional, random.uniform)

    @cached_property
    def recovery(self) -> Recovery:
        return Recovery(
            self.database, self.clock, self.record_policy, self.settings.journal_dir, self.count_unknown, self.let_go
        )

    def let_go(self, owner: str) -> None:
        """Of a dead process: its connections are given back. Without Redis they end by themselves, a minute later."""
        with suppress(GatesUnavailable):
            self.leases.died(owner)

    def count_unknown(self, written: Sequence[Result]) -> None:
        """Whatever became of them: an outcome that nobody knows may be a mail that came twice, or is held."""
        for lane, bulk in (("bulk", True), ("transactional", False)):
            n = sum(1 for one in written if one.unknown and (one.claimed.campaign_id is not None) is bulk)
            if n:
                self.meters.inc("unknown_outcomes", {"lane": lane}, n)

    @cached_property
    def audit_rules(self) -> AuditRules:
        settings = self.settings
        return AuditRules(
            timedelta(seconds=settings.sweep_seconds), self.slots.count, timedelta(days=settings.retention_days)
        )

    @cached_property
    def audit(self) -> Audit:
        broker = Broker(lambda: self.redis, QUEUES, KEY_PREFIX)
        return Audit(
            self.database, self.clock, self.audit_rules, broker, self.limiter, self.limits.names,
            RedisBreakers(self.redis), self.settings.journal_dir, lambda: overlooked(self.database),
        )  # fmt: skip

    @cached_property
    def guard(self) -> Guard:
        witnesses = FileWitness(self.settings.var_dir.resolve() / "ledger.json"), RedisWitness(lambda: self.redis)
        return Guard(self.database, self.clock, witnesses)

    @cached_property
    def delivery_views(self) -> DeliveryViews:
        return DeliveryViews(self.identity_key, self.publications)

    @cached_property
    def due(self) -> Due:
        longest_wait = timedelta(seconds=self.settings.retry_cap_seconds)
        return Due(self.database, self.clock, self._retention, longest_wait)

    @cached_property
    def dropper(self) -> Dropper:
        return Dropper(self.database, self.clock, self.doorbell, self._retention)

    @property
    def _retention(self) -> timedelta:
        return timedelta(days=self.settings.retention_days)

    @cached_property
    def unconfirmed(self) -> Unconfirmed:
        kept = timedelta(days=self.settings.pending_retention_days)
        return Unconfirmed(self.database, self.clock, self.signup_rules.confirm_lifetime + kept)


def direct_wishes(settings: Settings) -> Wishes:
    """What the settings say for going to the recipients' servers."""
    return Wishes(
        helo=settings.smtp_helo, port=settings.smtp_mx_port, tls=settings.smtp_mx_tls, ca_file=settings.smtp_ca_file,
        nameserver=settings.smtp_mx_nameserver, private=settings.smtp_mx_private,
        connect_timeout=settings.smtp_connect_timeout_seconds, timeout=settings.smtp_timeout_seconds,
        done_timeout=settings.smtp_done_timeout_seconds, messages_per_connection=settings.smtp_messages_per_connection,
    )  # fmt: skip


def _per_second(name: str, count: float | None) -> Limit | None:
    return None if count is None else Limit(name, count, 1.0)


def build(settings: Settings, environ: Mapping[str, str], doorbell: Doorbell) -> System:
    """The parts of a process that rings with `doorbell`."""
    return System(settings, environ, doorbell)
