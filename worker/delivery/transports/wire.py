"""One socket to an SMTP server: bytes out, replies in, a deadline on every wait."""

from __future__ import annotations

import asyncio
import ssl
from typing import cast

from worker.delivery.transports.reading import RawReply, ReplyReader

_CLOSING_SECONDS = 1.0
"""How long the other side may take to let go of a socket we have closed."""
_GULP = 4096
"""Bytes that are read at once: in more than that a flood would be seen when all of it is in memory as replies."""
_UNASKED = 1
"""Replies that a server may say of itself: 421, before it closes."""


class Wire(asyncio.Protocol):
    """A protocol, not a stream: one future per group of replies, one timer per connection.

    `lost` is empty while the line is up, then says how it ended; nothing here raises for what the server does.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.lost = ""
        self.timed_out = False
        self._loop = loop
        self._reader = ReplyReader()
        self._inbox: list[RawReply] = []
        self._wanted = 0
        self._most = 1 + _UNASKED  # the greeting
        self._waiter: asyncio.Future[None] | None = None
        self._timeout = 0.0
        self._deadline = 0.0
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = 0.0
        self._transport: asyncio.Transport
        self._gone: asyncio.Future[None] = loop.create_future()

    @property
    def unasked(self) -> RawReply | None:
        """What the server said without being asked: a 421 on an idle line, or an answer too many."""
        return self._inbox[0] if self._inbox else None

    @property
    def silent(self) -> bool:
        """Whether every byte that came has been taken as an answer."""
        return not self._inbox and self._reader.empty

    def write(self, data: bytes) -> None:
        if not self.lost:  # uvloop raises on a closed transport, asyncio warns
            self._transport.write(data)

    async def replies(
        self, count: int, timeout: float, *, behind: int = 0  # noqa: ASYNC109 - one timer, not one per wait
    ) -> list[RawReply]:
        """The next `count` replies, `timeout` seconds for each; fewer after a 421 or where the line was lost.

        `behind`: how many more have been asked for already. A server that says more than that is cut off.
        """
        self._most = count + behind + _UNASKED
        if len(self._inbox) < count and not self.lost:
            self._wanted = count
            self._timeout = timeout
            self._set_alarm()
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        self._most = behind + _UNASKED
        inbox = self._inbox
        self._inbox = inbox[count:]
        return inbox[:count]

    async def start_tls(self, context: ssl.SSLContext, host: str, seconds: float) -> None:
        """Raises OSError (ssl.SSLError among them) where the handshake fails.

        The caller has checked `silent`: what came in clear must not be read as if it were protected
        (CVE-2011-0411).
        """
        secured = await self._loop.start_tls(
            self._transport, self, context, server_hostname=host, ssl_handshake_timeout=seconds
        )
        if secured is None:  # both loops return None where the line was lost meanwhile
            raise ConnectionResetError("connection closed during the TLS handshake")
        self._transport = secured

    def cut(self, why: str) -> None:
        """End the line at once, without a word."""
        if not self.lost:
            self.lost = why
        self._transport.abort()
        self._wake()

    async def close(self) -> None:
        """Let the last bytes out, then see the socket gone."""
        self.lost = self.lost or "closed"
        self._transport.close()
        try:
            await asyncio.wait({self._gone}, timeout=_CLOSING_SECONDS)
        finally:
            self._transport.abort()
            self._disarm()

    # -- what the loop calls
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if len(data) > _GULP:
            for start in range(0, len(data), _GULP):
                if not self.lost:
                    self.data_received(data[start : start + _GULP])
            return
        replies = self._reader.feed(data)
        inbox = self._inbox
        inbox += replies
        if self._reader.fault:
            self.cut(self._reader.fault)
        elif len(inbox) > self._most:
            # nobody reads an idle line: what a server wrote there for ever was kept for ever
            del inbox[self._most :]
            self.cut("more replies than were asked for")
        elif self._waiter is not None:
            if len(inbox) >= self._wanted or (inbox and inbox[-1][-1].startswith(b"421")):
                self._wake()
            elif replies:
                # for a whole reply only: who drips a byte now and then would never be late (RFC 5321 §4.5.3.2)
                self._deadline = self._loop.time() + self._timeout

    def eof_received(self) -> None:
        self.lost = self.lost or "connection closed by the server"

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.lost:
            reset = isinstance(exc, ConnectionResetError | BrokenPipeError)
            self.lost = "connection reset" if reset else f"connection lost: {exc}" if exc else "connection closed"
        self._disarm()
        self._wake()
        if not self._gone.done():
            self._gone.set_result(None)

    # -- waiting
    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _set_alarm(self) -> None:
        """The timer stands from wait to wait and looks at the deadline when it rings: no timer per message."""
        self._deadline = self._loop.time() + self._timeout
        if self._alarm is None or self._alarm_at > self._deadline:
            self._disarm()
            self._alarm_at = self._deadline
            self._alarm = self._loop.call_at(self._deadline, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        if self._waiter is None or self._waiter.done():
            return
        if self._loop.time() >= self._deadline:
            self.timed_out = True
            self.cut(f"timeout after {self._timeout:g} s")
        else:
            self._alarm_at = self._deadline
            self._alarm = self._loop.call_at(self._deadline, self._ring)

    def _disarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
