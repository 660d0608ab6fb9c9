"""One connection of `tests.smtpd`: the commands and their answers."""

from __future__ import annotations

import asyncio
import base64
import re
import ssl
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tests.smtp_script import At, Interrupted, Received, Rule

if TYPE_CHECKING:
    from tests.smtpd import SmtpServer

_MESSAGE_ID = re.compile(rb"^Message-ID:[ \t]*(<[^>\r\n]+>)", re.IGNORECASE | re.MULTILINE)
_PATH = re.compile(r"[^<]*<([^>]*)>", re.DOTALL)


class _Gone(Exception):
    """The line has ended."""


class Session:
    """One connection. Commands that came in one packet are answered in one write."""

    def __init__(
        self, server: SmtpServer, number: int, commands: list[str], reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter, port: int = 0,
    ) -> None:
        self.server = server
        self.port = port
        """The client's, which tells its process."""
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
        self._kept = False
        """Whether the message under way was accepted, though its answer is not out."""
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
            self.server.interrupt(Interrupted(self.mail_from, self.rcpt or "", replied=False, accepted=self._kept))
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
            self._kept = False
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
        elif not self._input:
            await self._more()
        body_at = time.time()
        raw = await self._until_dot()
        received = self._received(body_at, raw.removeprefix(b".").replace(b"\r\n.", b"\r\n"))
        rule = self.server.rule("dot", self)
        kept = self.rcpt is not None and (rule is None or rule.accept or not rule.stands_in)
        if kept:
            self.server.accept(received)
            self._kept = True
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

    def _received(self, body_at: float, data: bytes) -> Received:
        head = data[: data.find(b"\r\n\r\n") + 2]
        found = _MESSAGE_ID.search(head)
        return Received(
            self.mail_from or "", self.rcpt or "", data if self.options.keep_bodies else b"",
            found[1].decode("utf-8", "replace") if found else "", len(data), time.time(), self.number, self.parameters,
            body_at,
        )  # fmt: skip

    def _forget(self) -> None:
        if self.mail_from is not None:
            self.server.end(self)
        self.mail_from, self.rcpt = None, None

    # -- answers
    async def _answer(self, at: At, usual: str, *, good: bool = True, then: bytes = b"") -> bool:
        """Say what the script wants, or the usual; whether it was a yes."""
        rule = self.server.rule(at, self)
        if rule is not None and await self._act(rule):
            return rule.reply is not None and rule.reply[:1] in ("2", "3")
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
