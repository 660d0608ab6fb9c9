"""The twin of SMTP that sends nothing: it records what it was given and answers what it was told to."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from worker.delivery.transports.base import RELAY, Exchange, Following, HopUnavailable, NextHop, nothing_follows
from worker.delivery.transports.commands import refusal
from worker.delivery.transports.offers import Offers
from worker.domain.message import Envelope, Message
from worker.domain.replies import Reply, Stage

_TAKEN = Reply(250, "2.0.0", "taken")


@dataclass(frozen=True, slots=True)
class Answer:
    """What becomes of one envelope: `reply` at `stage`, or a line cut there where `reply` is None.

    `taken`: whether a message cut at BODY was kept all the same, as a server does whose answer was lost.
    """

    stage: Stage
    reply: Reply | None = None
    taken: bool = False


class InMemoryTransport:
    """Scripted by recipient: each envelope takes the next answer, then all are accepted."""

    def __init__(
        self,
        script: Mapping[str, Sequence[Answer]] | None = None,
        *,
        offers: Offers | None = None,
        messages_per_connection: int = 100,
        down: HopUnavailable | None = None,
    ) -> None:
        self.name = "memory"
        self.sent: list[tuple[Envelope, bytes]] = []
        self.opened = 0
        self.down = down
        self.offers = Offers(eight_bit=True, smtputf8=True) if offers is None else offers
        self.messages_per_connection = messages_per_connection
        self._script = {address: deque(answers) for address, answers in (script or {}).items()}

    @property
    def relay(self) -> NextHop:
        return RELAY

    def known(self, domain: str) -> NextHop:
        """All of them go to one hop."""
        return RELAY

    async def find(self, domain: str) -> NextHop:
        """See `known`."""
        return RELAY

    async def open(self, hop: NextHop = RELAY) -> InMemoryConnection:
        """See `Transport.open`; raises `down` while that is set."""
        if self.down is not None:
            raise self.down
        self.opened += 1
        return InMemoryConnection(self)

    def answer_for(self, envelope: Envelope) -> Answer:
        answers = self._script.get(envelope.rcpt_to)
        return answers.popleft() if answers else Answer(Stage.BODY, _TAKEN)


class InMemoryConnection:
    """See `Connection`."""

    def __init__(self, transport: InMemoryTransport) -> None:
        self._transport = transport
        self._left = transport.messages_per_connection
        self._lost = ""

    @property
    def usable(self) -> bool:
        return self._left > 0 and not self._lost

    @property
    def offered(self) -> bool:
        return False

    async def send(
        self, envelope: Envelope, message: Message, before_body: Callable[[], None],
        following: Following = nothing_follows,
    ) -> Exchange:  # fmt: skip
        """See `Connection.send`; it never looks ahead."""
        refused = refusal(envelope, message, self._transport.offers)
        if refused is not None:
            return Exchange(*refused, "", 0.0)
        if not self.usable:
            return Exchange(Stage.CONNECT, None, self._lost or "message limit reached", 0.0)
        self._left -= 1
        answer = self._transport.answer_for(envelope)
        if answer.stage is Stage.BODY:
            self._take_body(before_body)
        if answer.taken or (answer.stage is Stage.BODY and answer.reply is not None and answer.reply.code < 300):
            self._transport.sent.append((envelope, message.data))
        if answer.reply is None or answer.reply.code == 421:
            self._lost = "connection closed by the script"
        if answer.stage is Stage.MAIL and answer.reply is not None and answer.reply.code == 421:
            fresh = self._left == self._transport.messages_per_connection - 1
            return Exchange(Stage.CONNECT, answer.reply if fresh else None, str(answer.reply), 0.0)
        return Exchange(answer.stage, answer.reply, "" if answer.reply else self._lost, 0.0)

    def _take_body(self, before_body: Callable[[], None]) -> None:
        try:
            before_body()
        except BaseException:
            self._lost = "given up"
            raise

    async def close(self) -> None:
        """See `Connection.close`."""
        self._lost = self._lost or "closed"
