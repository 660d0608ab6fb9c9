"""The least SMTP server that still reads every byte, knows who got what and when, and can be told to refuse.

    python -m benchmarks.smtp_sink [--watch signup] [--refuse DOMAIN] [--slow DOMAIN] [--two DOMAIN]

Writes `listening on 127.0.0.1:PORT`, and on SIGTERM or SIGINT one line of JSON (`tally.py`). Until SIGUSR1 ends it, a
recipient of the refused domain is answered 421 and the connection closed (RFC 5321 §3.8); so is the third at once of
the one that takes two; a message to the slow one is answered after five seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import time
from typing import cast

import uvloop

from benchmarks.tally import Tally

_EHLO = b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 ENHANCEDSTATUSCODES\r\n"
_REPLIES = {
    b"EHLO": _EHLO, b"HELO": b"250 sink\r\n", b"MAIL": b"250 2.1.0 ok\r\n", b"RCPT": b"250 2.1.5 ok\r\n",
    b"DATA": b"354 go ahead\r\n", b"RSET": b"250 2.0.0 ok\r\n", b"QUIT": b"221 2.0.0 bye\r\n",
}
_TAKEN = b"250 2.0.0 taken\r\n"
_UNKNOWN = b"502 5.5.1 no such command\r\n"
_THROTTLED = b"421 4.7.0 too much mail from you, try again later\r\n"
_CROWDED = b"421 4.7.0 too many connections from you, two are enough\r\n"
_END = b"\r\n.\r\n"
_SLOW_SECONDS = 5.0
_TWO = 2


class House:
    """What all connections share. `refused`, `slow` and `two` are domains, or empty."""

    def __init__(self, watch: bytes, refused: bytes = b"", slow: bytes = b"", two: bytes = b"") -> None:
        self.tally = Tally(watch)
        self.refused, self.slow, self.two = refused, slow, two
        self.open: set[Sink] = set()
        """Who has a message under way to the one that takes two."""

    def relent(self) -> None:
        self.refused = self.slow = self.two = b""

    def refusal(self, domain: bytes, who: Sink) -> bytes:
        """Of a recipient there; empty where it is taken."""
        if not domain or domain not in (self.refused, self.two):
            return b""
        if domain == self.two and len(self.open | {who}) <= _TWO:
            self.open.add(who)
            return b""
        self.tally.refused += 1
        return _THROTTLED if domain == self.refused else _CROWDED


class Sink(asyncio.Protocol):
    """One connection: counts a body's bytes as they pass and keeps only their tail, to see the dot."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._line = b""
        self._tail: bytes | None = None
        """The last four bytes of a body under way; None between messages."""
        self._size = 0
        self._recipient = b""
        self._held: bytes | None = None
        """What has come since a message that is answered late; None while there is none."""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._house.tally.connections += 1
        self._transport.write(b"220 sink ESMTP\r\n")

    def connection_lost(self, exc: Exception | None) -> None:
        self._house.open.discard(self)

    def data_received(self, data: bytes) -> None:
        if self._held is not None:
            self._held += data
            return
        rest: bytes = data
        while rest and not self._transport.is_closing():
            rest = self._body(rest) if self._tail is not None else self._commands(rest)

    def _body(self, data: bytes) -> bytes:
        """Take what belongs to the body; what stands behind its dot."""
        tail = cast(bytes, self._tail)
        # most often the dot ends the packet
        end = len(data) - 5 if data.endswith(_END) else data.find(_END)
        if end >= 0:
            return self._end(end + 2, data[end + 5 :])
        seam = (tail + data[:4]).find(_END)
        if seam >= 0:
            return self._end(0, data[seam + 5 - len(tail) :])
        self._size += len(data)
        self._tail = data[-4:] if len(data) >= 4 else (tail + data)[-4:]
        return b""

    def _end(self, size: int, rest: bytes) -> bytes:
        self._size += size
        self._tail = None
        if self._domain == self._house.slow:
            self._held = rest
            asyncio.get_running_loop().call_later(_SLOW_SECONDS, self._late)
            return b""
        self._take()
        return rest

    def _late(self) -> None:
        data, self._held = self._held or b"", None
        if not self._transport.is_closing():
            self._take()
            self.data_received(data)

    def _take(self) -> None:
        self._house.open.discard(self)
        self._house.tally.message(self._recipient, self._size)
        self._transport.write(_TAKEN)

    @property
    def _domain(self) -> bytes:
        return self._recipient.rpartition(b"@")[2]

    def _commands(self, data: bytes) -> bytes:
        """Answer the whole lines; what stands behind a DATA belongs to the body."""
        *lines, self._line = (self._line + data).split(b"\r\n")
        replies: list[bytes] = []
        for index, line in enumerate(lines):
            verb = line[:4].upper()
            if verb == b"RCPT" and (refusal := self._refusal(line)):
                self._transport.write(b"".join(replies) + refusal)
                self._transport.close()
                return b""
            replies.append(_REPLIES.get(verb, _UNKNOWN))
            if verb == b"DATA":
                # CRLF: a dot may be the first line of the body
                self._tail, self._size = b"\r\n", 0
                rest = b"\r\n".join([*lines[index + 1 :], self._line])
                self._line = b""
                self._transport.write(b"".join(replies))
                return rest
        self._transport.write(b"".join(replies))
        if lines and lines[-1][:4].upper() == b"QUIT":
            self._transport.close()
        return b""

    def _refusal(self, line: bytes) -> bytes:
        self._recipient = line.partition(b"<")[2].partition(b">")[0]
        # looked at for nobody, too: what a message costs here must not depend on what is being measured
        return self._house.refusal(self._domain, self)


async def serve(house: House) -> None:
    """Until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    loop.add_signal_handler(signal.SIGUSR1, house.relent)
    server = await loop.create_server(lambda: Sink(house), "127.0.0.1", 0, backlog=500)
    print(f"listening on 127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await stopped.wait()
    server.close()


def main() -> None:
    parser = argparse.ArgumentParser(description="A sink for SMTP.")
    parser.add_argument("--watch", default="", help="recipients that begin so have their time in the report")
    parser.add_argument("--refuse", default="", help="a domain that is answered 421 until SIGUSR1")
    parser.add_argument("--slow", default="", help="a domain whose messages are answered late until SIGUSR1")
    parser.add_argument("--two", default="", help="a domain that takes two messages at once until SIGUSR1")
    given = parser.parse_args()
    house = House(*(one.encode() for one in (given.watch, given.refuse, given.slow, given.two)))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(house))
    print(house.tally.report(time.process_time()), flush=True)


if __name__ == "__main__":
    main()
