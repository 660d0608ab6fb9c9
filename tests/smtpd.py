"""A real SMTP server on a socket that can be told to misbehave, in a thread of its own or as a process.

    with SmtpServer([Rule("rcpt", reply="451 4.2.0 later", rcpt="a@b.example", times=1)]) as server:
        ... smtp://127.0.0.1:{server.port} ...
        server.messages   # what was accepted, in order

As a process, for kill tests (the first line on stdout is `listening on 127.0.0.1:PORT`):

    python -m tests.smtpd --port 0 --log accepted.jsonl --script '[{"at": "dot", "cut": true, "nth": 3}]'
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import ssl
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from tests.smtp_script import At, Certificate, Interrupted, Options, Received, Rule, self_signed
from tests.smtp_session import Session

__all__ = ["At", "Certificate", "Interrupted", "Options", "Received", "Rule", "SmtpServer", "read_log", "self_signed"]


class SmtpServer:
    """Records every conversation. All figures may be read from any thread."""

    def __init__(
        self, rules: Sequence[Rule] = (), options: Options | None = None, port: int = 0, host: str = "127.0.0.1"
    ) -> None:
        self.host = host
        self.options = options or Options()
        self.port = port
        self.messages: list[Received] = []
        self.interrupted: list[Interrupted] = []
        self.commands: list[list[str]] = []
        """Each connection's command lines, in order of connecting."""
        self.connections = 0
        self.open_connections = 0
        self.mails = 0
        """MAIL commands seen."""
        self.most_open = 0
        """The most conversations open at once."""
        self.most_connections = 0
        """The most connections open at once."""
        self._rules = list(rules)
        self._used: dict[int, int] = {}
        self._open: set[Session] = set()
        self._sessions: set[asyncio.Task[None]] = set()
        self._changed = threading.Condition()
        self._log: int | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="smtpd", daemon=True)
        self._server: asyncio.Server | None = None

    # -- for the test's thread
    @property
    def url(self) -> str:
        return f"smtp://{self.host}:{self.port}"

    @property
    def open_conversations(self) -> int:
        """MAIL seen, final reply not yet sent: at this moment."""
        return len(self._open)

    def message_ids(self) -> list[str]:
        return [message.message_id for message in list(self.messages)]

    def wait_for(self, condition: Callable[[SmtpServer], bool], seconds: float = 10.0) -> None:
        """Until `condition(self)` holds; raises TimeoutError after `seconds`."""
        with self._changed:
            if not self._changed.wait_for(lambda: condition(self), seconds):
                raise TimeoutError(f"after {seconds:g} s: {len(self.messages)} messages, {self.mails} MAIL commands")

    def add(self, rule: Rule) -> None:
        """A rule for what comes from here on; it goes before the others."""
        self._loop.call_soon_threadsafe(self._rules.insert, 0, rule)

    def relent(self) -> None:
        """No rule holds from here on."""
        self._loop.call_soon_threadsafe(self._rules.clear)

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    # -- in the server's thread
    async def _start(self) -> None:
        if self.options.log is not None:
            self._log = os.open(self.options.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        implicit = self.options.tls == "tls"
        self._server = await asyncio.start_server(
            self._serve, self.host, self.port, backlog=500, ssl=self.tls_context() if implicit else None
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._sessions):
            task.cancel()
        await asyncio.gather(*self._sessions, return_exceptions=True)
        if self._log is not None:
            os.close(self._log)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._sessions.add(task)
        with self._changed:
            self.connections += 1
            self.open_connections += 1
            self.most_connections = max(self.most_connections, self.open_connections)
            self._changed.notify_all()
        commands: list[str] = []
        self.commands.append(commands)
        peer = writer.get_extra_info("peername")
        session = Session(self, self.connections, commands, reader, writer, peer[1] if peer else 0)
        try:
            await session.run()
        except asyncio.CancelledError:
            pass  # the server stops
        finally:
            self._sessions.discard(task)
            self.ended(session)
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            with self._changed:
                self.open_connections -= 1
                self._changed.notify_all()

    def tls_context(self) -> ssl.SSLContext:
        assert self.options.certificate is not None
        return self.options.certificate.context()

    def rule(self, at: At, session: Session) -> Rule | None:
        for rule in self._rules:
            if rule.at == at and self._matches(rule, session):
                self._used[id(rule)] = self._used.get(id(rule), 0) + 1
                return rule
        return None

    def _matches(self, rule: Rule, session: Session) -> bool:
        return (
            (rule.rcpt is None or _is_for(rule.rcpt, session.rcpt))
            and (rule.nth is None or rule.nth == session.nth)
            and (rule.nth_here is None or rule.nth_here == session.mails_here)
            and (rule.times is None or self._used.get(id(rule), 0) < rule.times)
        )

    def begin(self, session: Session) -> int:
        with self._changed:
            self.mails += 1
            self._open.add(session)
            self.most_open = max(self.most_open, len(self._open))
            self._changed.notify_all()
        return self.mails

    def end(self, session: Session) -> None:
        self._open.discard(session)

    def accept(self, received: Received) -> None:
        self._write({
            "event": "accepted", "at": received.at, "mail_from": received.mail_from, "rcpt": received.rcpt,
            "message_id": received.message_id, "size": received.size, "connection": received.connection,
        })
        with self._changed:
            self.messages.append(received)
            self._changed.notify_all()

    def ended(self, session: Session) -> None:
        """A connection is over, whoever ended it; for servers that write that down."""

    def interrupt(self, interrupted: Interrupted) -> None:
        self._write({"event": "interrupted", "at": time.time(), **vars(interrupted)})
        with self._changed:
            self.interrupted.append(interrupted)
            self._changed.notify_all()

    def _write(self, record: dict[str, object]) -> None:
        if self._log is not None:
            os.write(self._log, json.dumps(record).encode() + b"\n")


def _is_for(wanted: str, rcpt: str | None) -> bool:
    return rcpt is not None and (rcpt.endswith(wanted) if wanted.startswith("@") else rcpt == wanted)


def read_log(path: Path) -> list[dict[str, object]]:
    """The records of `--log`, accepted and interrupted; a line still being written is left out."""
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.smtpd")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--script", default="[]", help="rules as a JSON list")
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--max-messages", type=int)
    parser.add_argument("--no-pipelining", action="store_true")
    given = parser.parse_args(arguments)
    options = Options(
        log=given.log, latency=given.latency, max_messages=given.max_messages, keep_bodies=False,
        pipelining=not given.no_pipelining,
    )
    with SmtpServer([Rule(**rule) for rule in json.loads(given.script)], options, given.port) as server:
        print(f"listening on 127.0.0.1:{server.port}", flush=True)
        signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main(sys.argv[1:])
