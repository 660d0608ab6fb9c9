"""The receiving side: a small SMTP server (RFC 5321, PIPELINING), and one commit for all mails that wait for one.

Not aiosmtpd: it reads a message line by line and took 200 mails of 17 KB a second here; the demo's own workers
send thousands.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import Protocol

from worker.inbox.queries import Incoming

_LARGEST_BYTES = 32 * 1024 * 1024
# RFC 5321 §4.5.3.1 asks for 512 and leaves extensions room for more.
_LONGEST_LINE = 4096
_PATH = re.compile(rb"(?:FROM|TO):\s*<([^<>\s]*)>(?:\s+.*)?", re.IGNORECASE)
_HELLO = (
    b"250-inbox.localhost\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-ENHANCEDSTATUSCODES\r\n"
    b"250 SIZE %d\r\n" % _LARGEST_BYTES
)
_PLAIN = {
    b"HELO": b"250 inbox.localhost\r\n",
    b"EHLO": _HELLO,
    b"RSET": b"250 2.0.0 forgotten\r\n",
    b"NOOP": b"250 2.0.0 fine\r\n",
    b"VRFY": b"252 2.0.0 send it, and see\r\n",
}


class Keeps(Protocol):
    """Where a conversation's mails go."""

    def keep(self, mails: Sequence[Incoming]) -> asyncio.Future[None]:
        """Done once they are on record."""


class Keeper:
    """Keeps mails. Those that end while a commit runs go together into the next one."""

    def __init__(self, put: Callable[[Sequence[Incoming]], None]) -> None:
        self._put = put
        self._waiting: list[tuple[Sequence[Incoming], asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None

    def keep(self, mails: Sequence[Incoming]) -> asyncio.Future[None]:
        """Done once they are on record."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((mails, done))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._commit())
        return done

    async def _commit(self) -> None:
        while self._waiting:
            taken, self._waiting = self._waiting, []
            failure: Exception | None = None
            try:
                await asyncio.to_thread(self._put, [mail for mails, _ in taken for mail in mails])
            except Exception as error:  # a full disk, say: the senders must hear of it
                failure = error
            for _, done in taken:
                if failure is not None:
                    done.set_exception(failure)
                else:
                    done.set_result(None)


class Conversation(asyncio.Protocol):
    """One SMTP session: takes any sender and any recipient."""

    def __init__(self, keeper: Keeps) -> None:
        self._keeper = keeper
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._mail_from: str | None = None
        self._rcpt_to: list[str] = []
        self._in_body = self._keeping = False
        self._searched = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._say(b"220 inbox.localhost Pressrun inbox\r\n")

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._go_on()

    def _go_on(self) -> None:
        while not self._keeping and (self._take_body() if self._in_body else self._take_line()):
            pass

    def _take_line(self) -> bool:
        end = self._buffer.find(b"\r\n")
        if end < 0 or end > _LONGEST_LINE:
            if max(end, len(self._buffer)) > _LONGEST_LINE:
                self._leave(b"500 5.5.2 the line is too long\r\n")
            return False
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        self._obey(line)
        return self._transport is not None

    def _obey(self, line: bytes) -> None:
        verb, _, argument = line.partition(b" ")
        verb = verb.upper()
        if verb in _PLAIN:
            if verb not in (b"NOOP", b"VRFY"):
                self._forget()
            self._say(_PLAIN[verb])
        elif verb in (b"MAIL", b"RCPT"):
            self._say(self._address(verb, argument))
        elif verb == b"DATA":
            self._in_body = bool(self._rcpt_to)
            self._say(b"354 go on\r\n" if self._rcpt_to else b"503 5.5.1 MAIL and RCPT come first\r\n")
        elif verb == b"QUIT":
            self._leave(b"221 2.0.0 bye\r\n")
        else:
            self._say(b"500 5.5.1 no such command\r\n")

    def _address(self, verb: bytes, argument: bytes) -> bytes:
        found = _PATH.fullmatch(argument)
        if found is None:
            return b"501 5.5.4 an address in angle brackets is needed\r\n"
        address = found[1].decode("utf-8", "replace")
        if verb == b"MAIL":
            self._forget()
            self._mail_from = address
        elif self._mail_from is None:
            return b"503 5.5.1 MAIL comes first\r\n"
        else:
            self._rcpt_to.append(address)
        return b"250 2.1.0 fine\r\n"

    def _take_body(self) -> bool:
        # an empty message is a dot alone
        end = 0 if self._buffer.startswith(b".\r\n") else self._buffer.find(b"\r\n.\r\n", self._searched) + 2
        if end == 1:
            self._searched = max(0, len(self._buffer) - 4)  # the end may have come in half
            if len(self._buffer) > _LARGEST_BYTES:
                self._leave(b"552 5.3.4 the message is too large\r\n")
            return False
        raw = bytes(self._buffer[:end])
        del self._buffer[: end + 3]
        if raw.startswith(b".") or b"\r\n." in raw:
            raw = re.sub(rb"(?m)^\.(?=.)", b"", raw)  # RFC 5321 §4.5.2
        self._in_body, self._keeping, self._searched = False, True, 0
        mails = [Incoming(self._mail_from or "", to, raw) for to in self._rcpt_to]
        self._forget()
        self._keeper.keep(mails).add_done_callback(self._kept)
        return False

    def _kept(self, done: asyncio.Future[None]) -> None:
        self._keeping = False
        failed = done.exception() is not None
        self._say(b"452 4.3.1 the inbox cannot keep it\r\n" if failed else b"250 2.0.0 kept\r\n")
        self._go_on()

    def _forget(self) -> None:
        self._mail_from, self._rcpt_to = None, []

    def _say(self, line: bytes) -> None:
        if self._transport is not None:
            self._transport.write(line)

    def _leave(self, line: bytes) -> None:
        self._say(line)
        if self._transport is not None:
            self._transport.close()
            self._transport = None
