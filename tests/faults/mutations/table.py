"""One line of code changed for each, and the tests that must fail then."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    """In `file`, `old` (once in it) becomes `new`. `tests` are node ids; each must fail."""

    name: str
    promise: int
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


_RECOVER = "tests/integration/delivery/test_recover.py"
_CLAIM = "tests/integration/delivery/test_claim.py"
_COURIER = "tests/integration/delivery/test_courier.py"

TABLE = (
    Mutation(
        "lost doorbells are not rung again", 1, "worker/station.py",
        '"lost_transactional": self._lost_transactional,', '"lost_transactional": lambda: 0,',
        ("tests/faults/test_promise_1.py::test_everything_killed_right_after_the_answer",),
    ),
    Mutation(
        "an event that is on record is not found", 1, "worker/intake/receive.py",
        "if row_id is None:", "if row_id is None and False:",
        ("tests/faults/test_promise_2.py::test_everything_replayed",),
    ),
    Mutation(
        "one delivery a reader is not enforced by the database", 2, "worker/storage/migrations/versions/0004_spans.py",
        'sa.UniqueConstraint("dedupe_key", name="uq_deliveries_dedupe_key"),', "",
        ("tests/faults/test_promise_2.py::test_the_database_refuses_a_second_delivery",),
    ),
    Mutation(
        "expired leases of other hosts are left alone", 3, "worker/delivery/recover.py",
        "if gone or self._over(one)]", "if gone]",
        (f"{_RECOVER}::test_another_hosts_lease_waits_for_its_end",),
    ),
    Mutation(
        "what waits in vain never expires", 3, "worker/delivery/record.py",
        "if until < end:",
        "if until:",
        ("tests/integration/delivery/test_record.py::test_what_is_held_again_and_again_expires_with_its_time",),
    ),
    Mutation(
        "the lease is not checked when an outcome is written", 4, "worker/delivery/set_queries.py",
        '_HELD = "deliveries.id = v.id AND deliveries.lease_id + 0 = v.lease_id"',
        '_HELD = "deliveries.id = v.id"',
        ("tests/integration/delivery/test_record.py::test_a_result_whose_lease_was_taken_over_changes_nothing",),
    ),
    Mutation(
        "a dead process's journal is not read", 4, "worker/delivery/recover.py",
        "entry = entries.get((row.id, row.lease_id))", "entry: Entry | None = None",
        ("tests/faults/test_promise_4.py::test_all_bulk_processes_killed_in_the_middle",
         f"{_RECOVER}::test_a_dead_owners_journal_decides"),
    ),
    Mutation(
        "a mail is written down as taken before it is sent", 4, "worker/delivery/carrier.py",
        "self._books.begins(job.claimed)",
        "self._books._journal.outcome(job.claimed, job.claimed.created_at, Exchange(Stage.BODY, "
        "__import__('worker.domain.replies').domain.replies.Reply(250, '2.0.0', ''), '', 0.0))",
        ("tests/faults/test_promise_4.py::test_what_was_open_at_a_kill_and_was_not_taken_is_sent",),
    ),
    Mutation(
        "a conversation starts after its lease", 4, "worker/delivery/lane.py",
        "return clock.ticks() > self.lease.start_by or self.lease_over(clock)",
        "return clock.ticks() > self.lease.start_by",
        (f"{_COURIER}::test_a_job_past_its_time_is_given_back_unsent",),
    ),
    Mutation(
        "a body begins after its lease", 4, "worker/delivery/lane.py",
        "return clock.ticks() > self.lease.valid_until or clock.now() >= self.lease.expires_at", "return False",
        (f"{_COURIER}::test_a_lease_that_ends_before_the_body_begins_sends_none",
         "tests/faults/test_promise_4.py::test_a_process_stopped_before_the_body_past_its_lease"),
    ),
    Mutation(
        "a body is written down behind the look at its lease", 4, "worker/delivery/carrier.py",
        """        self._books.begins(job.claimed)
        if job.lease_over(self._pulse):
            raise NotBegun(Stage.DATA, _LEASE_OVER)
""",
        """        self._books.begins(job.claimed)
""",
        (f"{_COURIER}::test_a_lease_that_ends_when_the_body_is_written_down_sends_none",),
    ),
    Mutation(
        "a lease is taken over by an old look at it", 4, "worker/delivery/recover.py",
        "return queries.end_lease(connection, lease.id, self._clock.now())", "return True",
        (f"{_RECOVER}::test_a_lease_that_was_renewed_since_the_look_stays",
         f"{_RECOVER}::test_one_that_is_being_taken_over_is_renewed_no_more"),
    ),
    Mutation(
        "a body that begins is not journalled", 4, "worker/delivery/journal.py",
        "% (self._waiting, claimed.id, claimed.lease_id))", "[:2] % self._waiting)",
        ("tests/integration/delivery/test_unknown.py::test_a_process_that_died",),
    ),
    Mutation(
        "a mail sent again has another Message-ID", 4, "worker/domain/identity.py",
        "_tag(key, b'mid', delivery_id)", "_tag(key, b'mid', __import__('time').time_ns())",
        ("tests/unit/domain/test_identity.py",),
    ),
    Mutation(
        "a claim ignores pause and cancel", 5, "worker/delivery/set_queries.py",
        "c.status IN ({_GOING}))", "c.status <> '')",
        (f"{_CLAIM}::test_a_pause_stops_the_next_claim", f"{_CLAIM}::test_a_campaign_that_is_not_going_gives_nothing"),
    ),
    Mutation(
        "a claim may start as late as it likes", 5, "worker/delivery/claim.py",
        "START_WITHIN_SECONDS = 1.8", "START_WITHIN_SECONDS = 60.0",
        ("tests/faults/test_promise_5.py::test_a_silent_server_does_not_stretch_the_two_seconds",),
    ),
    Mutation(
        "suppression is not looked at", 5, "worker/delivery/claim.py",
        "if suppressed:", "if suppressed and row.erased_at:",
        ("tests/faults/test_promise_5.py::test_a_reader_who_is_suppressed",),
    ),
    Mutation(
        "every wish for tokens is granted", 6, "worker/delivery/throttling/redis.py",
        "return Grant(tokens, wait / 1e6,", "return Grant(wanted, 0 * wait,",
        ("tests/faults/test_promise_6.py::test_no_second_above_the_limit",),
    ),
    Mutation(
        "one process sends all confirmations", 7, "worker/options.py",
        '2, description="Processes that send transactional', '1, description="Processes that send transactional',
        ("tests/faults/test_promise_7.py::test_the_lane_goes_on_while_one_of_its_processes_stands_still",),
    ),
    Mutation(
        "what was sent stays in memory", 8, "worker/delivery/recorder.py",
        "self._results.append(result)",
        "self._results.append(result); self.__dict__.setdefault('kept', []).append((result, bytes(2000)))",
        ("tests/faults/test_promise_8.py",),
    ),
    Mutation(
        "a wrong field is refused without its name", 9, "worker/intake/cloudevents.py",
        'raise InvalidInput.of("time",', 'raise InvalidInput.of("data",',
        ("tests/integration/web/test_events.py",),
    ),
    Mutation(
        "addresses are logged", 10, "worker/delivery/press.py",
        '"not_accepted", delivery=one.claimed.id,', '"not_accepted", delivery=one.claimed.address,',
        ("tests/faults/test_promise_10.py",),
    ),
)  # fmt: skip
