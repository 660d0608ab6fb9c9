"""The face of a transport: open a connection, send one envelope at a time, learn what became of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from worker.domain.delivery import Reason
from worker.domain.errors import PermanentError, TemporaryError
from worker.domain.message import Envelope, Message
from worker.domain.replies import Judgement, Outcome, Reply, Stage, judge


@dataclass(frozen=True, slots=True)
class NextHop:
    """Where a connection goes: the relay, or the mail servers of one or more domains."""

    name: str
    """`relay`, or the servers' names."""
    group: str = ""
    """The destination of `shaping.toml` that its mail is claimed for, or empty."""
    hosts: tuple[tuple[str, ...], ...] = ()
    """Server names by preference, those of equal preference together; empty for the relay."""
    connections: int = 0
    """From all workers together; 0: as many as they like."""
    messages: int = 0
    """Of one connection; 0: as the setting says."""
    tls: str = ""
    """The policy for it; empty: as the setting says."""

    @property
    def gate(self) -> str:
        """The breaker that closes all of it, and what its connections are counted under."""
        if self.group:
            return f"destination:{self.group}"
        return f"mx:{self.name}" if self.hosts else self.name

    def gate_for(self, destination: str, domain: str) -> str:
        """The breaker that a throttling reply about one recipient closes. A relay speaks for the recipient's host."""
        if self.hosts:
            return self.gate
        return f"destination:{destination}" if destination else f"domain:{domain}"


RELAY = NextHop("relay")

_UNREACHABLE = Judgement(Outcome.UNREACHABLE, Reason.CONNECTION_FAILED)
_UNKNOWN = Judgement(Outcome.UNKNOWN, Reason.UNKNOWN_OUTCOME)


# Not frozen, since each mail makes one; nobody changes it.
@dataclass(slots=True)
class Exchange:
    """What became of one envelope.

    `stage` is where it ended; `reply` the reply that decided, None where the line was cut, a deadline passed
    or the answer made no sense, which `detail` then says. `stage` CONNECT without a reply: nothing of this
    envelope was written, the same row may go over another connection at once. `duration` is in seconds.
    """

    stage: Stage
    reply: Reply | None
    detail: str
    duration: float
    judgement: Judgement = field(init=False, compare=False)
    """What it means for the delivery; unknown only where the body may have been taken."""

    def __post_init__(self) -> None:
        # judged once: everybody who records, counts or logs it asks again
        self.judgement = _judged(self.reply, self.stage)


def _judged(reply: Reply | None, stage: Stage) -> Judgement:
    if reply is not None:
        return judge(reply, stage)
    return _UNKNOWN if stage is Stage.BODY else _UNREACHABLE


class HopUnavailable(TemporaryError):
    """Nothing could be offered to the next hop. `configuration`: a bad login, or TLS refused or untrusted."""

    def __init__(self, detail: str, *, reply: Reply | None = None, configuration: bool = False) -> None:
        self.detail = detail
        self.reply = reply
        self.configuration = configuration
        super().__init__(detail if reply is None else f"{detail}: {reply}")


class TlsUnavailable(HopUnavailable):
    """It speaks no TLS, or none that is trusted; in clear it may take mail."""


Following = Callable[[], tuple[Envelope, Message] | None]
"""Names what will be sent next over the same connection, or nothing."""


def nothing_follows() -> None:
    """For a message that is the last for now."""


class Connection(Protocol):
    """One conversation partner, one envelope at a time."""

    @property
    def usable(self) -> bool:
        """False after 421, a cut, a deadline, a close by the other side, or at the message limit."""

    @property
    def offered(self) -> bool:
        """Whether an envelope was offered ahead: send that one next, or close."""

    async def send(
        self, envelope: Envelope, message: Message, before_body: Callable[[], None],
        following: Following = nothing_follows,
    ) -> Exchange:  # fmt: skip
        """Hand over one message; never raises for what the server does.

        `message` has CRLF line ends and is not dot-stuffed. `before_body` is called right before the first
        byte of the body is written: from then on the outcome may be unknown. What it raises is passed on,
        and closes the connection, as a cancellation does.

        `following` may be asked, once, before the body goes out: what it names can then be offered in the same
        write. If it is not what comes next (the very same envelope), the connection must be closed.
        """

    async def close(self) -> None:
        """Say goodbye, within a short deadline; never raises."""


class NoRoute(PermanentError):
    """There is no server for a domain: `reply` says why, as if it had been said at `stage`."""

    def __init__(self, stage: Stage, reply: Reply) -> None:
        self.stage = stage
        self.reply = reply
        super().__init__(str(reply))


class RouteUnknown(TemporaryError):
    """Which servers take a domain's mail cannot be told now."""


class Transport(Protocol):
    """Where connections come from."""

    @property
    def name(self) -> str:
        """Short and stable: limits and attempts are kept by it."""

    @property
    def relay(self) -> NextHop | None:
        """The one hop that takes everything; None where each domain has its own."""

    def known(self, domain: str) -> NextHop | None:
        """Its hop, where that has been looked up lately. `domain` is an A-label in small letters."""

    async def find(self, domain: str) -> NextHop:
        """Look it up. Raises `NoRoute` or `RouteUnknown`."""

    async def open(self, hop: NextHop = RELAY) -> Connection:
        """A connection ready for its first envelope. Raises `HopUnavailable`."""
