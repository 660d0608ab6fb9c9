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
import base64
import contextlib
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

At = Literal["connect", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "body", "dot", "rset", "after"]
_MESSAGE_ID = re.compile(rb"^Message-ID:[ \t]*(<[^>\r\n]+>)", re.IGNORECASE | re.MULTILINE)
_PATH = re.compile(r"[^<]*<([^>]*)>", re.DOTALL)


@dataclass(frozen=True)
class Rule:
    """What the server does at a stage instead of the usual.

    `at`: `connect` (the greeting), a command, `body` (when the first bytes of a body are in), `dot` (after
    the final dot), `after` (when the answer to the final dot is out). `rcpt` limits it to one recipient (from
    `rcpt` on), `nth` to the nth MAIL of the server's life (from 1), `nth_here` to the nth of its connection;
    `times` is how often it applies. In order: wait `delay` seconds, write `reply` (a `\\n` in it makes lines),
    stay silent, or cut the line; with none of these three the usual reply follows.
    `accept`: at `dot`, the message is kept although its answer is cut, silent or a refusal.
    """

    at: At
    reply: str | None = None
    cut: bool = False
    silent: bool = False
    delay: float = 0.0
    rcpt: str | None = None
    nth: int | None = None
    nth_here: int | None = None
    times: int | None = None
    accept: bool = False


@dataclass(frozen=True)
class Received:
    """A message that was accepted. `at` is `time.time()` when its final dot was read."""

    mail_from: str
    rcpt: str
    data: bytes
    """Unstuffed, without the final dot; empty where the server keeps no bodies."""
    message_id: str
    size: int
    at: float
    connection: int
    parameters: str
    """What stood after the path in MAIL FROM."""


@dataclass(frozen=True)
class Interrupted:
    """A conversation whose client went away after MAIL FROM, and before QUIT or another command.

    `replied`: the answer to the final dot was written (its client may or may not have read it).
    """

    mail_from: str
    rcpt: str
    replied: bool
    accepted: bool


@dataclass(frozen=True)
class Certificate:
    cert: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert, self.key)
        return context


def self_signed(folder: Path) -> Certificate:
    """A certificate for `localhost` and `127.0.0.1`, good for two days."""
    made = Certificate(folder / "cert.pem", folder / "key.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-keyout", str(made.key), "-out", str(made.cert)],
        check=True, capture_output=True,
    )
    return made


@dataclass
class Options:
    """What the server offers. `latency` is added before every write, as a long line does."""

    pipelining: bool = True
    eight_bit: bool = True
    smtputf8: bool = True
    size: int | None = 50_000_000
    esmtp: bool = True
    users: dict[str, str] = field(default_factory=dict)
    auth: tuple[str, ...] = ("PLAIN", "LOGIN")
    tls: Literal["none", "starttls", "tls"] = "none"
    certificate: Certificate | None = None
    after_starttls: bytes = b""
    """Bytes in clear right behind the answer to STARTTLS: what an attacker would inject."""
    latency: float = 0.0
    max_messages: int | None = None
    """Messages of one connection after which it is closed without a word."""
    keep_bodies: bool = True
    log: Path | None = None


class SmtpServer:
    """Records every conversation. All figures may be read from any thread."""

    def __init__(self, rules: Sequence[Rule] = (), options: Options | None = None, port: int = 0) -> None:
        self.options = options or Options()
        self.port = port
        self.messages: list[Received] = []
        self.interrupted: list[Interrupted] = []
        self.commands: list[list[str]] = []
        """Each connection's command lines, in order of connecting."""
        self.connections = 0
        self.mails = 0
        """MAIL commands seen."""
        self.most_open = 0
        """The most conversations open at once."""
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
        return f"smtp://127.0.0.1:{self.port}"

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
            self._serve, "127.0.0.1", self.port, backlog=500, ssl=self.tls_context() if implicit else None
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
        self.connections += 1
        commands: list[str] = []
        self.commands.append(commands)
        session = Session(self, self.connections, commands, reader, writer)
        try:
            await session.run()
        except asyncio.CancelledError:
            pass  # the server stops
        finally:
            self._sessions.discard(task)
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

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
            (rule.rcpt is None or rule.rcpt == session.rcpt)
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

    def interrupt(self, interrupted: Interrupted) -> None:
        self._write({"event": "interrupted", "at": time.time(), **vars(interrupted)})
        with self._changed:
            self.interrupted.append(interrupted)
            self._changed.notify_all()

    def _write(self, record: dict[str, object]) -> None:
        if self._log is not None:
            os.write(self._log, json.dumps(record).encode() + b"\n")


class _Gone(Exception):
    """The line has ended."""


class Session:
    """One connection. Commands that came in one packet are answered in one write."""

    def __init__(
        self, server: SmtpServer, number: int, commands: list[str], reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.server = server
        self.options = server.options
        self.number = number
        self.commands = commands
        self.mail_from: str | None = None
        self.rcpt: str | None = None
        self.parameters = ""
        self.nth = 0
        self.mails_here = 0
        self._reader = reader
        self._writer = writer
        self._input = bytearray()
        self._output = bytearray()
        self._secure = server.options.tls == "tls"
        self._logged_in = False
        self._replied: Interrupted | None = None
        """The last message, until a further command shows that its client lives."""

    async def run(self) -> None:
        try:
            await self._answer("connect", "220 smtpd ESMTP" if self.options.esmtp else "220 smtpd")
            while True:
                line = await self._line()
                self._replied = None
                self.commands.append(line)
                await self._obey(line)
        except (_Gone, OSError):
            self._lost()

    def _lost(self) -> None:
        if self.mail_from is not None:
            self.server.end(self)
            self.server.interrupt(Interrupted(self.mail_from, self.rcpt or "", replied=False, accepted=False))
        elif self._replied is not None:
            self.server.interrupt(self._replied)

    async def _obey(self, line: str) -> None:
        verb = line.split(":")[0].split(" ")[0].upper()
        if verb in ("EHLO", "HELO"):
            await self._hello(verb)
        elif verb == "STARTTLS":
            await self._starttls()
        elif verb == "AUTH":
            await self._auth(line)
        elif verb == "MAIL":
            await self._mail(line)
        elif verb == "RCPT":
            await self._rcpt(line)
        elif verb == "DATA":
            await self._data()
        elif verb == "RSET":
            self._forget()
            await self._answer("rset", "250 2.0.0 reset")
        elif verb == "QUIT":
            self._say("221 2.0.0 bye")
            await self._flush()
            self._forget()
            raise _Gone
        else:
            self._say("502 5.5.1 no such command")

    async def _hello(self, verb: str) -> None:
        if verb == "EHLO" and not self.options.esmtp:
            self._say("502 5.5.1 no such command")
            return
        await self._answer("ehlo", "\n".join(self._offers()) if verb == "EHLO" else "250 smtpd")

    def _offers(self) -> Iterator[str]:
        options = self.options
        words = ["smtpd greets you"]
        words += ["PIPELINING"] if options.pipelining else []
        words += ["8BITMIME"] if options.eight_bit else []
        words += ["SMTPUTF8"] if options.smtputf8 else []
        words += [] if options.size is None else [f"SIZE {options.size}"]
        words += ["STARTTLS"] if options.tls == "starttls" and not self._secure else []
        words += ["AUTH " + " ".join(options.auth)] if options.users else []
        words.append("ENHANCEDSTATUSCODES")
        return (f"250{' ' if word is words[-1] else '-'}{word}" for word in words)

    async def _starttls(self) -> None:
        await self._answer("starttls", "220 2.0.0 go ahead", then=self.options.after_starttls)
        if self.options.tls != "starttls":
            return
        await self._flush()
        try:
            await self._writer.start_tls(self.server.tls_context(), ssl_handshake_timeout=5)
        except (OSError, ssl.SSLError):
            raise _Gone from None
        self._secure = True
        self._input.clear()

    async def _auth(self, line: str) -> None:
        words = line.split(" ")
        if words[1].upper() == "PLAIN":
            text = words[2] if len(words) > 2 else await self._prompt("")
            _, user, password = base64.b64decode(text).decode().split("\0")
        else:
            user = base64.b64decode(await self._prompt("VXNlcm5hbWU6")).decode()
            password = base64.b64decode(await self._prompt("UGFzc3dvcmQ6")).decode()
        self._logged_in = self.options.users.get(user) == password
        good, bad = "235 2.7.0 welcome", "535 5.7.8 wrong user or password"
        await self._answer("auth", good if self._logged_in else bad)

    async def _prompt(self, text: str) -> str:
        self._say(f"334 {text}")
        return await self._line()

    async def _mail(self, line: str) -> None:
        if self.options.users and not self._logged_in:
            self._say("530 5.7.0 log in first")
        elif self.mail_from is not None:
            self._say("503 5.5.1 nested MAIL")
        elif not (found := _PATH.match(line)):
            self._say("501 5.5.4 no path")
        else:
            self.mails_here += 1
            self.mail_from, self.parameters, self.rcpt = found[1], line[found.end() :].strip(), None
            self.nth = self.server.begin(self)
            if not await self._answer("mail", "250 2.1.0 ok"):
                self._forget()

    async def _rcpt(self, line: str) -> None:
        found = _PATH.match(line)
        if self.mail_from is None:
            self._say("503 5.5.1 MAIL first")
        elif not found:
            self._say("501 5.5.4 no path")
        else:
            self.rcpt = found[1]
            if not await self._answer("rcpt", "250 2.1.5 ok"):
                self.rcpt = None

    async def _data(self) -> None:
        if self.rcpt is None:
            usual = "503 5.5.1 RCPT first" if self.mail_from is None else "554 5.5.1 no valid recipients"
            going = await self._answer("data", usual, good=False)
        else:
            going = await self._answer("data", "354 go ahead")
        if going:
            await self._message()

    async def _message(self) -> None:
        at_body = self.server.rule("body", self)
        if at_body is not None:
            await self._flush()
            await self._more()
            await self._act(at_body)
        raw = await self._until_dot()
        received = self._received(raw.removeprefix(b".").replace(b"\r\n.", b"\r\n"))
        rule = self.server.rule("dot", self)
        kept = self.rcpt is not None and (rule is None or rule.accept or not (rule.reply or rule.cut or rule.silent))
        if kept:
            self.server.accept(received)
        if rule is None or not await self._act(rule):
            self._say("250 2.0.0 taken" if self.rcpt is not None else "554 5.5.1 no valid recipients")
        self._replied = Interrupted(received.mail_from, received.rcpt, replied=True, accepted=kept)
        self._forget()
        await self._close_when_full()

    async def _close_when_full(self) -> None:
        after = self.server.rule("after", self)
        if after is not None:
            await self._flush()
            await self._act(after)
        if self.options.max_messages is not None and self.mails_here >= self.options.max_messages:
            await self._flush()
            raise _Gone

    def _received(self, data: bytes) -> Received:
        head = data[: data.find(b"\r\n\r\n") + 2]
        found = _MESSAGE_ID.search(head)
        return Received(
            self.mail_from or "", self.rcpt or "", data if self.options.keep_bodies else b"",
            found[1].decode("utf-8", "replace") if found else "", len(data), time.time(), self.number, self.parameters,
        )

    def _forget(self) -> None:
        if self.mail_from is not None:
            self.server.end(self)
        self.mail_from, self.rcpt = None, None

    # -- answers
    async def _answer(self, at: At, usual: str, *, good: bool = True, then: bytes = b"") -> bool:
        """Say what the script wants, or the usual; whether it was a yes."""
        rule = self.server.rule(at, self)
        if rule is not None and await self._act(rule):
            return rule.reply is not None and rule.reply[0] in "23"
        self._say(usual)
        self._output += then
        return good and usual[0] in "23"

    async def _act(self, rule: Rule) -> bool:
        """Whether the rule took the place of the usual reply."""
        if rule.delay:
            await self._flush()
            await asyncio.sleep(rule.delay)
        if rule.reply is not None:
            self._say(rule.reply)
        if rule.silent:
            await self._flush()
            while await self._reader.read(65536):
                pass
            raise _Gone
        if rule.cut:
            await self._flush()
            raise _Gone
        return rule.reply is not None

    def _say(self, reply: str) -> None:
        self._output += reply.replace("\n", "\r\n").encode("utf-8", "surrogateescape") + b"\r\n"

    async def _flush(self) -> None:
        if self._output:
            if self.options.latency:
                await asyncio.sleep(self.options.latency)
            self._writer.write(bytes(self._output))
            self._output.clear()
            await self._writer.drain()

    # -- input
    async def _line(self) -> str:
        while (end := self._input.find(b"\n")) < 0:
            await self._more()
        line = bytes(self._input[:end]).rstrip(b"\r").decode("utf-8", "surrogateescape")
        del self._input[: end + 1]
        return line

    async def _until_dot(self) -> bytes:
        """The raw body up to and with the line end before the dot."""
        if self._input.startswith(b".\r\n"):
            del self._input[:3]
            return b""
        start = 0
        while (end := self._input.find(b"\r\n.\r\n", start)) < 0:
            start = max(0, len(self._input) - 4)
            await self._more()
            if self._input.startswith(b".\r\n"):
                del self._input[:3]
                return b""
        raw = bytes(self._input[: end + 2])
        del self._input[: end + 5]
        return raw

    async def _more(self) -> None:
        await self._flush()
        data = await self._reader.read(262_144)
        if not data:
            raise _Gone
        self._input += data


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
