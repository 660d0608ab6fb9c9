"""The least SMTP server that still reads every byte: what the client's speed is measured against.

    python benchmarks/smtp_sink.py --port 0

Writes `listening on 127.0.0.1:PORT`, and on SIGTERM or SIGINT one line of JSON: how many messages and bytes,
when the first and the last were in (`time.time()`), the messages a second between them, and its processor time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import time
from dataclasses import dataclass
from typing import cast

import uvloop

_EHLO = b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 ENHANCEDSTATUSCODES\r\n"
_REPLIES = {
    b"EHLO": _EHLO, b"HELO": b"250 sink\r\n", b"MAIL": b"250 2.1.0 ok\r\n", b"RCPT": b"250 2.1.5 ok\r\n",
    b"DATA": b"354 go ahead\r\n", b"RSET": b"250 2.0.0 ok\r\n", b"QUIT": b"221 2.0.0 bye\r\n",
}
_TAKEN = b"250 2.0.0 taken\r\n"
_UNKNOWN = b"502 5.5.1 no such command\r\n"
_END = b"\r\n.\r\n"


@dataclass
class Tally:
    messages: int = 0
    bytes: int = 0
    connections: int = 0
    first: float = 0.0
    last: float = 0.0

    def message(self, size: int) -> None:
        self.last = time.time()
        self.first = self.first or self.last
        self.messages += 1
        self.bytes += size

    def report(self) -> str:
        seconds = self.last - self.first
        rate = (self.messages - 1) / seconds if seconds else 0.0
        return json.dumps({**vars(self), "per_second": round(rate, 1), "cpu_seconds": time.process_time()})


class Sink(asyncio.Protocol):
    """One connection: counts a body's bytes as they pass and keeps only their tail, to see the dot."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._line = b""
        self._tail: bytes | None = None
        """The last four bytes of a body under way; None between messages."""
        self._size = 0
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._tally.connections += 1
        self._transport.write(b"220 sink ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        rest: bytes = data
        while rest:
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
        self._tally.message(self._size + size)
        self._tail = None
        self._transport.write(_TAKEN)
        return rest

    def _commands(self, data: bytes) -> bytes:
        """Answer the whole lines; what stands behind a DATA belongs to the body."""
        *lines, self._line = (self._line + data).split(b"\r\n")
        replies = []
        for index, line in enumerate(lines):
            verb = line[:4].upper()
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


async def serve(port: int) -> Tally:
    """Until SIGTERM or SIGINT."""
    tally = Tally()
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    server = await loop.create_server(lambda: Sink(tally), "127.0.0.1", port, backlog=500)
    print(f"listening on 127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await stopped.wait()
    server.close()
    return tally


def main() -> None:
    parser = argparse.ArgumentParser(description="A sink for SMTP.")
    parser.add_argument("--port", type=int, default=0)
    given = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(runner.run(serve(given.port)).report(), flush=True)


if __name__ == "__main__":
    main()
