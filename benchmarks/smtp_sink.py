"""The least SMTP server that still reads every byte: what the client's speed is measured against.

    python benchmarks/smtp_sink.py --port 0

Writes `listening on 127.0.0.1:PORT`, and on SIGTERM or SIGINT one line of JSON: how many messages and bytes, for how
many different recipients, when the first and the last were in (`time.time()`), the messages a second between them,
the most in any one second, the speed of the last tenth by that of the first, and its processor time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
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


def busiest_second(times: Sequence[float]) -> int:
    """The most of these ascending times that lie within one second, wherever it begins."""
    most = begin = 0
    for end, at in enumerate(times):
        while times[begin] <= at - 1.0:
            begin += 1
        most = max(most, end + 1 - begin)
    return most


def steadiness(times: Sequence[float]) -> float:
    """The speed of the last tenth, divided by that of the first."""
    tenth = len(times) // 10
    if tenth < 2 or times[-1] == times[-tenth]:
        return 1.0
    return (times[tenth - 1] - times[0]) / (times[-1] - times[-tenth])


@dataclass
class Tally:
    bytes: int = 0
    connections: int = 0
    times: array[float] = field(default_factory=lambda: array("d"))
    """When each message was in."""
    recipients: array[int] = field(default_factory=lambda: array("q"))
    """A hash of each RCPT line: a message that came twice shows."""

    def message(self, size: int) -> None:
        self.times.append(time.time())
        self.bytes += size

    def report(self) -> str:
        first, last = (self.times[0], self.times[-1]) if self.times else (0.0, 0.0)
        figures = {
            "messages": len(self.times), "recipients": len(set(self.recipients)), "bytes": self.bytes,
            "connections": self.connections, "first": first, "last": last,
            "per_second": round((len(self.times) - 1) / (last - first), 1) if last > first else 0.0,
            "busiest_second": busiest_second(self.times), "steadiness": round(steadiness(self.times), 3),
            "cpu_seconds": time.process_time(),
        }  # fmt: skip
        return json.dumps(figures)


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
            if verb == b"RCPT":
                self._tally.recipients.append(hash(line))
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
