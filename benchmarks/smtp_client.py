"""The SMTP transport against a sink in another process, beside the standard library's client in threads.

    python -m benchmarks.smtp_client --messages 40000 --connections 20 --size 20000 --client uvloop

Clients: `uvloop` and `asyncio` (Pressrun's transport), `smtplib` (the baseline). One line of JSON each.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import smtplib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import uvloop

from benchmarks.sinks import PythonSink
from worker.delivery.transports.smtp import SmtpTransport, smtp_transport
from worker.domain.message import Envelope, Message
from worker.domain.replies import Outcome


@dataclass(frozen=True)
class Load:
    messages: int
    connections: int
    per_connection: int
    message: Message


def compose(size: int) -> Message:
    head = b"From: News <news@daily.example>\r\nTo: r@b.example\r\nSubject: Today\r\n"
    head += b"Message-ID: <1@daily.example>\r\n\r\n"
    line = b"Seventy-two characters of text in one line, as quoted-printable makes.\r\n"
    # as ours are: known to have no line that starts with a dot
    return Message(head + line * ((size - len(head)) // len(line)), dotless=True)


async def _carry(transport: SmtpTransport, numbers: Iterator[int], load: Load) -> None:
    connection = await transport.open()
    for number in numbers:
        if number >= load.messages:
            break
        if not connection.usable:
            await connection.close()
            connection = await transport.open()
        envelope = Envelope(f"b+{number}@daily.example", f"reader{number}@b.example")
        exchange = await connection.send(envelope, load.message, _nothing)
        if exchange.judgement.outcome is not Outcome.ACCEPTED:
            raise SystemExit(f"not accepted: {exchange}")
    await connection.close()


def _nothing() -> None:
    """Where the journal would be written."""


async def _ours(port: int, load: Load) -> None:
    transport = smtp_transport(
        f"smtp://127.0.0.1:{port}", helo="bench.example", connect_timeout=15, timeout=60,
        messages_per_connection=load.per_connection, verify=True, ca_file="",
    )
    numbers = count()
    await asyncio.gather(*(_carry(transport, numbers, load) for _ in range(load.connections)))


def _smtplib_thread(port: int, numbers: Iterator[int], load: Load) -> None:
    sent = 0
    server = smtplib.SMTP("127.0.0.1", port, "bench.example")
    for number in numbers:
        if number >= load.messages:
            break
        if sent == load.per_connection:
            server.quit()
            server, sent = smtplib.SMTP("127.0.0.1", port, "bench.example"), 0
        server.sendmail(f"b+{number}@daily.example", f"reader{number}@b.example", load.message.data)
        sent += 1
    server.quit()


def _smtplib(port: int, load: Load) -> None:
    numbers = count()
    threads = [threading.Thread(target=_smtplib_thread, args=(port, numbers, load)) for _ in range(load.connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def run(client: str, load: Load) -> dict[str, object]:
    """Mails a second from first connect to last goodbye, and the processor time of each side."""
    sink = PythonSink()
    start, spent = time.monotonic(), time.process_time()
    if client == "smtplib":
        _smtplib(sink.port, load)
    else:
        factory = uvloop.new_event_loop if client == "uvloop" else asyncio.new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(_ours(sink.port, load))
    seconds, cpu = time.monotonic() - start, time.process_time() - spent
    tally = sink.report()
    if tally["messages"] != load.messages:
        raise SystemExit(f"{load.messages} sent, {tally['messages']} received")
    return {
        "client": client, "messages": load.messages, "size": len(load.message), "connections": load.connections,
        "per_second": round(load.messages / seconds), "client_cpu_us_per_mail": round(cpu / load.messages * 1e6, 1),
        "sink_cpu_us_per_mail": round(tally["cpu_seconds"] / load.messages * 1e6, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="How fast the SMTP transport is.")
    parser.add_argument("--client", choices=("uvloop", "asyncio", "smtplib"), action="append")
    parser.add_argument("--messages", type=int, default=40_000)
    parser.add_argument("--connections", type=int, default=20)
    parser.add_argument("--per-connection", type=int, default=100)
    parser.add_argument("--size", type=int, default=20_000)
    given = parser.parse_args()
    load = Load(given.messages, given.connections, given.per_connection, compose(given.size))
    for client in given.client or ("uvloop", "asyncio", "smtplib"):
        print(json.dumps(run(client, load)), flush=True)


if __name__ == "__main__":
    main()
