"""The least SMTP server that still reads every byte, knows who got what and when, and can be told to refuse.

    python -m benchmarks.smtp_sink [--watch signup] [--refuse south.example]

Writes `listening on 127.0.0.1:PORT`, and on SIGTERM or SIGINT one line of JSON (`tally.py`). A recipient of the
refused domain is answered 421 and the connection closed (RFC 5321 §3.8), until SIGUSR1 ends it.
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
_END = b"\r\n.\r\n"


class House:
    """What all connections share; `refused` is a domain, or empty."""

    def __init__(self, watch: bytes, refused: bytes) -> None:
        self.tally = Tally(watch)
        self.refused = refused

    def relent(self) -> None:
        self.refused = b""


class Sink(asyncio.Protocol):
    """One connection: counts a body's bytes as they pass and keeps only their tail, to see the dot."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._line = b""
        self._tail: bytes | None = None
        """The last four bytes of a body under way; None between messages."""
        self._size = 0
        self._recipient = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._house.tally.connections += 1
        self._transport.write(b"220 sink ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
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
        self._house.tally.message(self._recipient, self._size + size)
        self._tail = None
        self._transport.write(_TAKEN)
        return rest

    def _commands(self, data: bytes) -> bytes:
        """Answer the whole lines; what stands behind a DATA belongs to the body."""
        *lines, self._line = (self._line + data).split(b"\r\n")
        replies: list[bytes] = []
        for index, line in enumerate(lines):
            verb = line[:4].upper()
            if verb == b"RCPT" and not self._takes(line):
                self._transport.write(b"".join(replies) + _THROTTLED)
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

    def _takes(self, line: bytes) -> bool:
        self._recipient = line.partition(b"<")[2].partition(b">")[0]
        refused = self._house.refused
        if not refused or not self._recipient.endswith(b"@" + refused):
            return True
        self._house.tally.refused += 1
        return False


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
    given = parser.parse_args()
    house = House(given.watch.encode(), given.refuse.encode())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(house))
    print(house.tally.report(time.process_time()), flush=True)


if __name__ == "__main__":
    main()
