from __future__ import annotations

from itertools import product

import pytest

from worker.domain.delivery import Reason
from worker.domain.replies import Outcome, Reply, Stage, judge

A, T, R, F = Outcome.ACCEPTED, Outcome.TEMPORARY, Outcome.RECIPIENT, Outcome.FAULT


@pytest.mark.parametrize(
    ("stage", "reply", "outcome", "reason", "suppress"),
    [
        (Stage.BODY, Reply(250, "2.0.0", "queued"), A, Reason.NONE, False),
        # temporary: never a verdict about the address
        (Stage.RCPT, Reply(450, "4.2.0", "greylisted"), T, Reason.TEMPORARY_REPLY, False),
        (Stage.RCPT, Reply(451), T, Reason.TEMPORARY_REPLY, False),
        (Stage.MAIL, Reply(421, "", "closing"), T, Reason.THROTTLED, False),
        (Stage.RCPT, Reply(450, "4.2.2", "over quota"), T, Reason.MAILBOX_FULL, False),
        (Stage.RCPT, Reply(452), T, Reason.MAILBOX_FULL, False),
        # RFC 5321 §4.5.3.1.10: "too many recipients" is said with 452, and is no full mailbox
        (Stage.RCPT, Reply(452, "4.5.3", "too many recipients"), T, Reason.THROTTLED, False),
        (Stage.MAIL, Reply(421, "4.7.28", "unusual rate of unsolicited mail"), T, Reason.THROTTLED, False),
        (Stage.MAIL, Reply(421, "4.7.0", "[TSS04] Messages temporarily deferred"), T, Reason.THROTTLED, False),
        (Stage.MAIL, Reply(451, "4.7.500", "Server busy. Please try again later"), T, Reason.THROTTLED, False),
        (Stage.MAIL, Reply(421, "", "RP-001 exceeded the rate limit allowed"), T, Reason.THROTTLED, False),
        # Gmail says "too fast" with a 5yz too: a pause, not a bounce
        (Stage.BODY, Reply(550, "5.7.1", "an unusual rate of unsolicited mail from"), T, Reason.THROTTLED, False),
        # a 4yz code with a 5.x.x beside it: the code decides whether it is repeated (RFC 5321 §4.2.1)
        (Stage.RCPT, Reply(450, "5.1.1", "unknown"), T, Reason.TEMPORARY_REPLY, False),
        # the address is gone
        (Stage.RCPT, Reply(550, "5.1.1", "no such user"), R, Reason.BAD_ADDRESS, True),
        (Stage.RCPT, Reply(550, "5.1.10", "null MX"), R, Reason.BAD_ADDRESS, True),
        (Stage.RCPT, Reply(550, "5.2.1", "disabled"), R, Reason.BAD_ADDRESS, True),
        (Stage.RCPT, Reply(550, "", "unknown user"), R, Reason.BAD_ADDRESS, True),
        (Stage.RCPT, Reply(553), R, Reason.BAD_ADDRESS, True),
        (Stage.RCPT, Reply(550, "5.0.0", "unknown"), R, Reason.BAD_ADDRESS, True),
        (Stage.BODY, Reply(550, "5.1.1", "no such user"), R, Reason.BAD_ADDRESS, True),
        # refused, but not for ever
        (Stage.BODY, Reply(550, "5.2.1", "disabled"), R, Reason.BAD_ADDRESS, False),
        (Stage.RCPT, Reply(550, "5.4.1", "no answer from host"), R, Reason.BAD_ADDRESS, False),
        (Stage.RCPT, Reply(550, "5.1.0", "other"), R, Reason.BAD_ADDRESS, False),
        (Stage.RCPT, Reply(552, "5.2.2", "mailbox full"), R, Reason.MAILBOX_FULL, False),
        (Stage.RCPT, Reply(552), R, Reason.MAILBOX_FULL, False),
        (Stage.DATA, Reply(550, "5.1.1", "no such user"), R, Reason.BAD_ADDRESS, False),
        (Stage.MAIL, Reply(550, "5.1.2", "there is no such domain"), R, Reason.BAD_ADDRESS, False),
        (Stage.MAIL, Reply(550, "5.4.4", "neither MX nor address"), R, Reason.BAD_ADDRESS, False),
        # at the door nothing of the mail was looked at, whatever the code
        (Stage.CONNECT, Reply(554, "5.7.1", "go away"), Outcome.UNREACHABLE, Reason.CONNECTION_FAILED, False),
        (Stage.CONNECT, Reply(550, "5.1.1", "go away"), Outcome.UNREACHABLE, Reason.CONNECTION_FAILED, False),
        # about us: never suppressed, whatever the stage
        (Stage.RCPT, Reply(550, "5.7.1", "refused by policy"), F, Reason.OUR_FAULT, False),
        (Stage.BODY, Reply(550, "5.7.515", "authenticate"), F, Reason.OUR_FAULT, False),
        (Stage.RCPT, Reply(550, "5.1.8", "bad sender's domain"), F, Reason.OUR_FAULT, False),
        (Stage.RCPT, Reply(553, "5.1.7", "bad sender"), F, Reason.OUR_FAULT, False),
        (Stage.MAIL, Reply(552, "5.3.4", "too big"), F, Reason.OUR_FAULT, False),
        (Stage.DATA, Reply(554, "5.5.1", "no valid recipients"), F, Reason.OUR_FAULT, False),
        (Stage.BODY, Reply(554, "5.6.0", "malformed"), F, Reason.OUR_FAULT, False),
        # no recipient has been named yet: the mailbox that is unknown is the sender's
        (Stage.MAIL, Reply(550, "5.1.1", "Sender address rejected: User unknown"), F, Reason.OUR_FAULT, False),
        (Stage.MAIL, Reply(550, "5.1.0", "Sender address rejected"), F, Reason.OUR_FAULT, False),
        (Stage.MAIL, Reply(550, "5.2.1", "sender's mailbox is disabled"), F, Reason.OUR_FAULT, False),
        (Stage.MAIL, Reply(550, "", "you again"), F, Reason.OUR_FAULT, False),
        (Stage.BODY, Reply(550, "", "spam"), F, Reason.OUR_FAULT, False),
        (Stage.RCPT, Reply(554, "", "relay access denied"), F, Reason.OUR_FAULT, False),
        (Stage.BODY, Reply(552, "", "too big"), F, Reason.OUR_FAULT, False),
        (Stage.MAIL, Reply(553, "5.6.7", "needs SMTPUTF8"), F, Reason.SMTPUTF8_UNAVAILABLE, False),
    ],
)
def test_a_reply_is_judged(stage: Stage, reply: Reply, outcome: Outcome, reason: Reason, suppress: bool) -> None:
    found = judge(reply, stage)
    assert (found.outcome, found.reason, found.suppress) == (outcome, reason, suppress)


@pytest.mark.parametrize("stage", [Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.BODY])
def test_only_2yz_is_a_yes_and_only_an_address_is_suppressed(stage: Stage) -> None:
    for code, enhanced in product(range(200, 600), ("", "4.7.1", "5.7.1", "5.6.0", "5.5.4", "5.3.4", "5.2.2")):
        found = judge(Reply(code, enhanced), stage)
        assert (found.outcome is Outcome.ACCEPTED) == (code < 300)
        if found.suppress:
            assert (stage, enhanced[:1]) in {(Stage.RCPT, ""), (Stage.RCPT, "4")}


def test_a_reply_reads_as_it_was_said() -> None:
    assert str(Reply(550, "5.1.1", "no such user")) == "550 5.1.1 no such user"
    assert str(Reply(250)) == "250"
