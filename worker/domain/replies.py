"""What a server said, and the one place where it is judged."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from worker.domain.delivery import Reason


class Stage(StrEnum):
    """Where in the conversation a reply came, or the line was cut."""

    CONNECT = "connect"
    """Anything before MAIL FROM: the socket, the greeting, EHLO, STARTTLS, AUTH. Belongs to the next hop."""
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    """The answer to DATA itself, before the body."""
    BODY = "body"
    """From the first byte of the body to the answer after the final dot: a cut here is unknown."""


class Outcome(StrEnum):
    """How one attempt ended."""

    ACCEPTED = "accepted"
    TEMPORARY = "temporary"
    RECIPIENT = "recipient"
    """Permanent, and about this address."""
    FAULT = "fault"
    """Permanent, and about us: our content, our configuration, our reputation."""
    UNREACHABLE = "unreachable"
    """No conversation came about, or it was cut before the body."""
    UNKNOWN = "unknown"
    """Cut between the body and its answer: it may have been taken (RFC 5321 §4.5.3.2.6)."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One SMTP reply. `enhanced` is `5.1.1` or empty (RFC 3463); `text` has no line ends."""

    code: int
    enhanced: str = ""
    text: str = ""

    def __str__(self) -> str:
        return " ".join(part for part in (str(self.code), self.enhanced, self.text) if part)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a reply means for a delivery. `suppress`: the address must not be written to again."""

    outcome: Outcome
    reason: Reason
    suppress: bool = False


ACCEPTED = Judgement(Outcome.ACCEPTED, Reason.NONE)
_AT_THE_DOOR = Judgement(Outcome.UNREACHABLE, Reason.CONNECTION_FAILED)
_TEMPORARY = Judgement(Outcome.TEMPORARY, Reason.TEMPORARY_REPLY)
_THROTTLED = Judgement(Outcome.TEMPORARY, Reason.THROTTLED)
_BAD_ADDRESS = Judgement(Outcome.RECIPIENT, Reason.BAD_ADDRESS, suppress=True)
# Not a fault of the address for ever, so nothing is suppressed; but a 5yz is not repeated (RFC 5321 §4.2.1).
_REFUSED_ADDRESS = Judgement(Outcome.RECIPIENT, Reason.BAD_ADDRESS)
_FULL = Judgement(Outcome.RECIPIENT, Reason.MAILBOX_FULL)
_OUR_FAULT = Judgement(Outcome.FAULT, Reason.OUR_FAULT)
# RFC 6531 §3.5; the transport answers so itself where the next hop offers no SMTPUTF8
_NO_SMTPUTF8 = Judgement(Outcome.FAULT, Reason.SMTPUTF8_UNAVAILABLE)

# RFC 3463 §3.2: 5.1.0-5.1.6, 5.1.9 and 5.1.10 (RFC 7505) are about the destination; .7 and .8 are the sender's.
_ADDRESS_GONE = frozenset({"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1"})
# These do not say that the mailbox is gone.
_ADDRESS_REFUSED = frozenset({"5.1.0", "5.1.4", "5.1.5", "5.1.9"})
# To MAIL, a mailbox is the sender's ("Sender address rejected: User unknown"): no recipient has been named. What is
# left is about a domain, which is what we say ourselves (`transports.mx`).
_SENDERS = (_ADDRESS_GONE | _ADDRESS_REFUSED) - {"5.1.2", "5.1.10"}

# RFC 5321 §4.2.3 where a server gives no enhanced code; only trusted in the answer to RCPT TO.
_ADDRESS_CODES = frozenset({550, 551, 553, 556})

# Yahoo's TSS04 and its like, Outlook.com's "Server busy" (4.7.500) and "exceeded the rate limit" (RP-001)
_THROTTLE_TEXT = re.compile(
    r"\brate[ -]?limit|\btoo (?:fast|many)\b|\bthrottl|\bTSS?0[0-9]\b|\bserver (?:is )?busy\b", re.IGNORECASE
)
# Gmail says this with 421 4.7.28, and with 550 5.7.1 as well: a pause, not a bounce
_GOOGLE_TOO_FAST = re.compile(r"\bunusual rate of\s+unsolicited mail\b", re.IGNORECASE)
# Not "too much mail", but "too many of you at once"
_CONNECTIONS = re.compile(r"\bconnections?\b|\bconcurren|\bsimultaneous|\bsessions?\b", re.IGNORECASE)


def is_about_connections(reply: Reply) -> bool:
    """Whether a refusal at the door is about how many connections there are, not about us."""
    return bool(_CONNECTIONS.search(reply.text))


def judge(reply: Reply, stage: Stage) -> Judgement:
    """Temporary, permanent about the address, or our own fault: by code, enhanced code and stage.

    Nothing is suppressed for a sender's fault: 5.7.x, 5.6.x, 5.5.x and 5.3.4 are about us
    (RFC 3463 §3.4, §3.6-3.8); 5.2.2 is a mailbox full today.
    """
    if stage is Stage.CONNECT:
        # A refusal at the door is the hop's, whatever its code: no address and no content was looked at.
        return _AT_THE_DOOR
    if 200 <= reply.code < 300:
        return ACCEPTED
    # a 3yz decides nothing; a server that ends on one has lost its way, and may have found it next time
    if reply.code < 500:
        return _judge_temporary(reply)
    if reply.enhanced.startswith("5.7.") and _GOOGLE_TOO_FAST.search(reply.text):
        return _THROTTLED
    if reply.enhanced.startswith("5."):
        return _judge_enhanced(reply, stage)
    if stage is Stage.RCPT and reply.code in _ADDRESS_CODES:
        return _BAD_ADDRESS
    if reply.code == 552 and stage is Stage.RCPT:
        return _FULL
    return _OUR_FAULT


def _judge_temporary(reply: Reply) -> Judgement:
    # 421 closes the connection whatever it is an answer to (RFC 5321 §3.8): about more than this one message
    if reply.code == 421 or reply.enhanced == "4.7.28" or _THROTTLE_TEXT.search(reply.text):
        return _THROTTLED
    if reply.enhanced == "4.2.2" or (reply.code == 452 and not reply.enhanced):
        return Judgement(Outcome.TEMPORARY, Reason.MAILBOX_FULL)
    return _TEMPORARY


def _judge_enhanced(reply: Reply, stage: Stage) -> Judgement:
    if stage is Stage.MAIL and (reply.enhanced in _SENDERS or reply.enhanced.startswith("5.2.")):
        return _OUR_FAULT
    if reply.enhanced == "5.2.2":
        return _FULL
    if reply.enhanced == "5.6.7":
        return _NO_SMTPUTF8
    if reply.enhanced in _ADDRESS_GONE:
        # After the body it may be about the content's own addresses; the mailbox was accepted at RCPT.
        gone = stage is Stage.RCPT or (stage is Stage.BODY and reply.enhanced == "5.1.1")
        return _BAD_ADDRESS if gone else _REFUSED_ADDRESS
    if reply.enhanced in _ADDRESS_REFUSED or reply.enhanced.startswith(("5.2.", "5.4.")):
        return _REFUSED_ADDRESS
    if stage is Stage.RCPT and reply.enhanced == "5.0.0" and reply.code in _ADDRESS_CODES:
        return _BAD_ADDRESS
    return _OUR_FAULT
