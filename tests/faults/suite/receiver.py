"""The receiving server, a process of its own: it writes down every message before it says 250, and obeys orders.

    python -m tests.faults.suite.receiver --log book.jsonl

Says `listening on 127.0.0.1:PORT`, then reads one JSON order a line and answers each with `done`. Ends when its
input ends. `tls` makes it offer STARTTLS or speak TLS at once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import quopri
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.smtp_script import At, Certificate, Options, Received, Rule
from tests.smtp_session import Session
from tests.smtpd import SmtpServer

_DATE = re.compile(rb"^Date:[ \t]*([^\r\n]+)", re.IGNORECASE | re.MULTILINE)
_CONFIRM = re.compile(rb"/confirm/([A-Za-z0-9_-]{20,})")
# A loop that is late by more than this was not run in time: what it saw then was seen late.
_LAG_SECONDS = 0.1


class Receiver(SmtpServer):
    """Its book has one JSON object a line: `accepted`, `ruled` (a fault took effect), `closed`, `lag`."""

    def __init__(self, options: Options, port: int = 0) -> None:
        super().__init__((), options, port)
        self._began: dict[int, float] = {}
        self._ports: dict[int, int] = {}
        self._rule: dict[int, Rule | None] = {}

    # -- what is written down

    def begin(self, session: Session) -> int:
        self._began[session.number] = time.time()
        self._ports[session.number] = session.port
        return super().begin(session)

    def rule(self, at: At, session: Session) -> Rule | None:
        found = super().rule(at, session)
        if at == "dot":
            self._rule[session.number] = found
        if found is not None:
            self._write({
                "event": "ruled", "at": time.time(), "stage": at, "reply": found.reply, "cut": found.cut,
                "silent": found.silent, "delay": found.delay, "accept": found.accept, "connection": session.number,
                "mail_from": session.mail_from, "rcpt": session.rcpt,
            })  # fmt: skip
        return found

    def accept(self, received: Received) -> None:
        head, _, body = received.data.partition(b"\r\n\r\n")
        date = _DATE.search(head)
        confirm = None if b"List-Unsubscribe:" in head else _CONFIRM.search(quopri.decodestring(body))
        self._write({
            "event": "accepted", "at": received.at, "began": self._began.get(received.connection, received.at),
            "body_at": received.body_at,
            "rcpt": received.rcpt, "mail_from": received.mail_from, "message_id": received.message_id,
            "date": date[1].decode("ascii", "replace") if date else "", "connection": received.connection,
            "port": self._ports.get(received.connection, 0),
            "answer": _answer(self._rule.get(received.connection)), "confirm": confirm[1].decode() if confirm else "",
        })  # fmt: skip

    def ended(self, session: Session) -> None:
        quit_said = bool(session.commands) and session.commands[-1].upper().startswith("QUIT")
        self._write({
            "event": "closed", "at": time.time(), "connection": session.number, "port": session.port,
            "quit": quit_said,
        })  # fmt: skip

    async def watch_itself(self) -> None:
        while True:
            before = time.time()
            await asyncio.sleep(0.05)
            late = time.time() - before - 0.05
            if late > _LAG_SECONDS:
                self._write({"event": "lag", "at": time.time(), "seconds": round(late, 3)})

    # -- orders

    def watch(self) -> None:
        self._loop.call_soon_threadsafe(lambda: self._loop.create_task(self.watch_itself()))

    def obey(self, order: dict[str, object]) -> None:
        """`{"rule": {…}}`, `{"clear": true}`, `{"offer": {…}}` (of `Options`), `{"certificate": [cert, key]}`."""
        done = asyncio.run_coroutine_threadsafe(self._obey(order), self._loop)
        done.result(20)

    async def _obey(self, order: dict[str, object]) -> None:
        if isinstance(rule := order.get("rule"), dict):
            self._rules.insert(0, Rule(**rule))
        if "clear" in order:
            self._rules.clear()
            self._used.clear()
        if isinstance(offer := order.get("offer"), dict):
            for name, value in offer.items():
                setattr(self.options, name, value)
        if isinstance(pair := order.get("certificate"), list):
            self.options.certificate = Certificate(Path(pair[0]), Path(pair[1]))


def _answer(rule: Rule | None) -> str:
    """What its client was told of an accepted message."""
    if rule is None or not (rule.stands_in or rule.delay):
        return "250"
    return "cut" if rule.cut else "silent" if rule.silent else "late" if rule.delay else f"reply {rule.reply}"


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.suite.receiver")
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--tls", default="none", choices=("none", "starttls", "tls"))
    parser.add_argument("--cert", type=Path)
    parser.add_argument("--key", type=Path)
    given = parser.parse_args(arguments)
    certificate = Certificate(given.cert, given.key) if given.cert else None
    options = Options(log=given.log, latency=given.latency, tls=given.tls, certificate=certificate)
    with Receiver(options) as server:
        server.watch()
        print(f"listening on 127.0.0.1:{server.port}", flush=True)
        for line in sys.stdin:
            server.obey(json.loads(line))
            print("done", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
