"""The next hop: silent, cut, talking nonsense, late, closed, with less on offer than before."""

from __future__ import annotations

import random

from tests.faults.suite.bed import Bed
from tests.faults.suite.faults.table import fault
from tests.faults.suite.inbox import expired
from tests.smtp_script import At

_BEFORE_BODY: tuple[At, ...] = ("connect", "ehlo", "mail", "rcpt", "data", "body")
_GARBAGE = (
    "", "banana", "250", "2", "999 what", "25 0 ok", "\x00\xff\x01", "354 go on", "-1 no", "250-half\n250-a line",
)  # fmt: skip


def _for_a_while(bed: Bed, rng: random.Random, **rule: object) -> str:
    """So many conversations meet it; the rest of the time is for what comes of it."""
    times = rng.randint(1, 12)
    bed.inbox.order(rule={**rule, "times": times})
    bed.pause(rng.uniform(2.0, 5.0))
    bed.inbox.order(clear=True)
    said = ", ".join(f"{name} {value!r}" for name, value in rule.items())
    return f"receiving server, {times} times: {said}"


@fault("smtp-silent")
def silent(bed: Bed, rng: random.Random) -> str:
    """It says nothing any more, at some step."""
    return _for_a_while(bed, rng, at=rng.choice(_BEFORE_BODY), silent=True)


@fault("smtp-silent-after-dot")
def silent_after_dot(bed: Bed, rng: random.Random) -> str:
    return _for_a_while(bed, rng, at="dot", silent=True, accept=rng.random() < 0.5)


@fault("smtp-cut")
def cut(bed: Bed, rng: random.Random) -> str:
    return _for_a_while(bed, rng, at=rng.choice(_BEFORE_BODY), cut=True)


@fault("smtp-cut-after-dot")
def cut_after_dot(bed: Bed, rng: random.Random) -> str:
    """Taken or not: its client cannot know."""
    return _for_a_while(bed, rng, at="dot", cut=True, accept=rng.random() < 0.5)


@fault("smtp-cut-after-answer")
def cut_after_answer(bed: Bed, rng: random.Random) -> str:
    return _for_a_while(bed, rng, at="after", cut=True)


@fault("smtp-garbage")
def garbage(bed: Bed, rng: random.Random) -> str:
    at = rng.choice(("connect", "ehlo", "mail", "rcpt", "data"))
    return _for_a_while(bed, rng, at=at, reply=rng.choice(_GARBAGE))


@fault("smtp-garbage-after-dot")
def garbage_after_dot(bed: Bed, rng: random.Random) -> str:
    """Nonsense about a message that it has."""
    words = [one for one in _GARBAGE if not one.startswith("250")]
    return _for_a_while(bed, rng, at="dot", reply=rng.choice(words), accept=True)


@fault("smtp-421")
def closing(bed: Bed, rng: random.Random) -> str:
    """In the middle of a conversation, and it hangs up."""
    at = rng.choice(("connect", "mail", "rcpt", "data", "dot"))
    return _for_a_while(bed, rng, at=at, reply="421 4.3.2 closing for a while", cut=True)


@fault("smtp-late")
def late(bed: Bed, rng: random.Random) -> str:
    """The right answer, behind its deadline."""
    return _for_a_while(bed, rng, at=rng.choice(("mail", "rcpt", "data", "dot")), delay=rng.uniform(3.2, 5.0))


@fault("smtp-451")
def later(bed: Bed, rng: random.Random) -> str:
    """To everybody, for a while: greylisting, a full spool."""
    at = rng.choice(("mail", "rcpt", "data", "dot"))
    seconds = rng.uniform(1.0, 4.0)
    bed.inbox.order(rule={"at": at, "reply": "451 4.7.1 try again later"})
    bed.pause(seconds)
    bed.inbox.order(clear=True)
    return f"receiving server: 451 at {at} for {seconds:.1f} s"


@fault("smtp-less-on-offer")
def less_on_offer(bed: Bed, rng: random.Random) -> str:
    """8BITMIME or PIPELINING are gone on the next connection, which comes soon."""
    gone = rng.choice((("pipelining",), ("eight_bit",), ("pipelining", "eight_bit"), ("smtputf8",)))
    bed.inbox.order(offer={**dict.fromkeys(gone, False), "max_messages": rng.randint(1, 5)})
    bed.pause(rng.uniform(2.0, 5.0))
    bed.inbox.heal()
    return f"receiving server without {', '.join(gone)}"


def _register_expired(tls: str) -> None:
    @fault(f"smtp-certificate-expired-{tls}", tls=tls)
    def certificate(bed: Bed, rng: random.Random) -> str:
        """New connections fail; those that are open go on for a few messages."""
        bad = expired(bed.inbox.good)
        bed.inbox.order(certificate=[str(bad.cert), str(bad.key)], offer={"max_messages": 2})
        bed.pause(rng.uniform(2.0, 4.0))
        bed.inbox.heal()
        return f"an expired certificate ({tls})"


_register_expired("starttls")
_register_expired("tls")
