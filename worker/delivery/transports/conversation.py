"""One SMTP conversation: an envelope at a time over one wire, in as few round trips as the server takes."""

from __future__ import annotations

import time
from collections.abc import Callable

from worker.delivery.transports.base import Exchange, Following, nothing_follows
from worker.delivery.transports.commands import body, mail_command, rcpt_command, refusal
from worker.delivery.transports.offers import Offers
from worker.delivery.transports.reading import RawReply, read_reply
from worker.delivery.transports.wire import Wire
from worker.domain.message import Envelope, Message
from worker.domain.replies import Reply, Stage

_QUICK_SECONDS = 0.25
"""Behind a slower message nothing is offered ahead: it would wait for it, where other connections may be free."""
_QUIT_SECONDS = 2.0
"""A goodbye that is not answered by then is not worth waiting for."""

_AWAITED = {
    Stage.CONNECT: "RSET", Stage.MAIL: "MAIL", Stage.RCPT: "RCPT", Stage.DATA: "DATA", Stage.BODY: "the message",
}
_GO_AHEAD = [b"2", b"2", b"3"]
"""MAIL, RCPT and DATA taken."""
_Ending = tuple[Stage, Reply | None, str]
_Command = tuple[Stage, bytes]


class SmtpConnection:
    """MAIL, RCPT and DATA go out in one write where the server takes that (RFC 2920), else one by one.

    Where it answers quickly they go out behind the body of the message before (RFC 2920 §3.1 allows a body to begin
    a group): one round trip a message, one write and one read. Nothing is risked by it: the next body waits for
    the answer to this one.
    """

    def __init__(
        self, wire: Wire, offers: Offers, *, timeout: float, done_timeout: float | None = None, limit: int
    ) -> None:
        """`done_timeout`: for the answer to the final dot; the server may have much to do by then."""
        self.offers = offers
        self._wire = wire
        self._timeout = timeout
        self._done_timeout = done_timeout or timeout
        self._limit = limit
        self._begun = 0
        self._open_transaction = False
        self._quick = False
        self._ahead: tuple[Envelope, list[_Command]] | None = None

    @property
    def usable(self) -> bool:
        if self._wire.lost:
            return False
        return self._ahead is not None or (self._begun < self._limit and self._wire.silent)

    @property
    def offered(self) -> bool:
        return self._ahead is not None

    @property
    def _commands_ahead(self) -> int:
        return len(self._ahead[1]) if self._ahead else 0

    async def send(
        self, envelope: Envelope, message: Message, before_body: Callable[[], None],
        following: Following = nothing_follows,
    ) -> Exchange:  # fmt: skip
        """See `Connection.send`."""
        start = time.monotonic()
        stage, reply, detail = await self._send(envelope, message, before_body, following)
        took = time.monotonic() - start
        self._quick = took < _QUICK_SECONDS
        return Exchange(stage, reply, detail, took)

    async def _send(
        self, envelope: Envelope, message: Message, before_body: Callable[[], None], following: Following
    ) -> _Ending:
        ahead, self._ahead = self._ahead, None
        if ahead is None:
            refused = refusal(envelope, message, self.offers)
            if refused is not None:
                return *refused, ""
            if not self.usable:
                return Stage.CONNECT, None, self._why_unusable()
            self._begun += 1
        elif ahead[0] is not envelope:
            self._wire.cut("given up")
            return Stage.CONNECT, None, "another envelope was offered"
        try:
            commands = ahead[1] if ahead else self._commands(envelope, message)
            ending = await self._offer(commands, written=ahead is not None)
            if ending is not None:
                return ending
            data = body(message, self._offer_ahead(following))
            # with nothing but the write behind it: what it checks holds for the first byte
            before_body()
            self._wire.write(data)
            return self._conclude(await self._wire.replies(1, self._done_timeout, behind=self._commands_ahead))
        except BaseException:
            # cancelled, or the journal failed: there is nothing on this line that could be gone on with
            self._wire.cut("given up")
            raise

    def _offer_ahead(self, following: Following) -> bytes:
        """The next envelope's commands, unless it would wait long behind a slow answer or needs no offering."""
        if not (self._quick and self.offers.pipelining and self._begun < self._limit):
            return b""
        parcel = following()
        if parcel is None or refusal(*parcel, self.offers) is not None:
            return b""
        self._begun += 1
        commands = self._commands(*parcel)
        self._ahead = parcel[0], commands
        return b"".join([command for _, command in commands])

    def _commands(self, envelope: Envelope, message: Message) -> list[_Command]:
        commands = [
            (Stage.MAIL, mail_command(envelope, message, self.offers)),
            (Stage.RCPT, rcpt_command(envelope)),
            (Stage.DATA, b"DATA\r\n"),
        ]
        if self._open_transaction:
            self._open_transaction = False
            commands.insert(0, (Stage.CONNECT, b"RSET\r\n"))
        return commands

    async def _offer(self, commands: list[_Command], *, written: bool) -> _Ending | None:
        """None where the server waits for the body; otherwise how it ended, with the line in order or cut."""
        replies: list[RawReply] = []
        if self.offers.pipelining:
            if not written:
                self._wire.write(b"".join([command for _, command in commands]))
            replies = await self._wire.replies(len(commands), self._timeout)
        else:
            for stage, command in commands:
                self._wire.write(command)
                answer = await self._wire.replies(1, self._timeout)
                replies += answer
                if not _goes_on(stage, answer):
                    break
        if [lines[-1][:1] for lines in replies] != _GO_AHEAD:
            for index, (stage, _) in enumerate(commands):
                if not _goes_on(stage, replies[index : index + 1]):
                    data_taken = len(replies) == len(commands) and _goes_on(Stage.DATA, replies[-1:])
                    return await self._refused(stage, replies[index:], data_taken=data_taken)
        # lost behind the 354: no byte of the body is out, and none will be
        return self._lost_at(Stage.DATA) if self._wire.lost else None

    async def _refused(self, stage: Stage, replies: list[RawReply], *, data_taken: bool) -> _Ending:
        """The first refusal decides; what was answered after it says how to get the line in order again."""
        if not replies:
            return self._lost_at(stage)
        reply = read_reply(replies[0])
        if reply.code < 400 or stage is Stage.CONNECT:
            self._wire.cut("given up")
            return stage, None, f"unexpected reply to {_AWAITED[stage]}: {reply}"
        if any(_hangs_up(lines) for lines in replies):
            self._wire.cut("given up after 421")
            if stage is Stage.MAIL and reply.code == 421:
                # It said so before it heard of a recipient: the next hop's word, not about this message. One that
                # has taken messages has had enough of them on this connection.
                return Stage.CONNECT, None if self._begun > 1 else reply, f"{reply}"
        elif data_taken:
            await self._take_back_data(stage)
        else:
            # a refused MAIL opened nothing; after it RSET would be a wasted command
            self._open_transaction = stage is not Stage.MAIL
        return stage, reply, ""

    async def _take_back_data(self, refused: Stage) -> None:
        """DATA was answered 354 though no recipient was taken: a lone dot ends it (RFC 2920 §3.1).

        Only the recipient's refusal makes that safe; a server that refused MAIL and took RCPT would send
        the reader an empty mail.
        """
        if refused is not Stage.RCPT:
            self._wire.cut("given up")
            return
        self._wire.write(b".\r\n")
        replies = await self._wire.replies(1, self._timeout)
        if replies and _hangs_up(replies[0]):
            self._wire.cut("given up after 421")

    def _conclude(self, replies: list[RawReply]) -> _Ending:
        if not replies:
            return self._lost_at(Stage.BODY)
        reply = read_reply(replies[0])
        if 300 <= reply.code < 400:
            self._wire.cut("given up")
            return Stage.BODY, None, f"unexpected reply to the message: {reply}"
        if reply.code == 421:
            self._wire.cut("given up after 421")
        return Stage.BODY, reply, ""

    def _lost_at(self, stage: Stage) -> _Ending:
        """A server that closes without a word when it has had enough messages may cross with the next one.

        Nothing of that one was answered, so it counts as never offered. Not so at the first message of a
        connection: a server that hangs up on every one of them must not be called again at once for ever.
        """
        detail = f"{self._wire.lost} waiting for the reply to {_AWAITED[stage]}"
        if stage is Stage.MAIL and self._begun > 1 and not self._wire.timed_out:
            stage = Stage.CONNECT
        return stage, None, detail

    def _why_unusable(self) -> str:
        unasked = self._wire.unasked
        if unasked is not None:
            return f"the server spoke between messages: {read_reply(unasked)}"
        if self._wire.lost:
            return self._wire.lost
        return "message limit reached" if self._begun >= self._limit else "half a reply came unasked"

    async def close(self) -> None:
        """See `Connection.close`."""
        try:
            if self._ahead is not None:
                # an open DATA: a goodbye would be taken for the message
                self._wire.cut("given up")
            if not self._wire.lost:
                self._wire.write(b"QUIT\r\n")
                await self._wire.replies(1, min(self._timeout, _QUIT_SECONDS))
        finally:
            await self._wire.close()


def _goes_on(stage: Stage, replies: list[RawReply]) -> bool:
    return bool(replies) and replies[0][-1].startswith(b"3" if stage is Stage.DATA else b"2")


def _hangs_up(lines: RawReply) -> bool:
    return lines[-1].startswith(b"421")
