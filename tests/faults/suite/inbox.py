"""The receiving server as the suite holds it: its process, its orders, its book."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from tests.servers import REPOSITORY
from tests.smtp_script import Certificate, self_signed

Tls = Literal["none", "starttls", "tls"]


class Inbox:
    """`folder` gets its book and its certificates."""

    def __init__(self, folder: Path, tls: Tls, latency: float) -> None:
        folder.mkdir(parents=True)
        self.book_path = folder / "book.jsonl"
        self.tls = tls
        self.good = self_signed(folder)
        self._lock = threading.Lock()
        self._read = self._accepted = 0
        self.book: list[dict[str, Any]] = []
        command = [
            sys.executable, "-m", "tests.faults.suite.receiver", "--log", str(self.book_path), "--tls", tls,
            "--latency", str(latency), "--cert", str(self.good.cert), "--key", str(self.good.key),
        ]  # fmt: skip
        with (folder / "receiver.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
            )
        self.port = int(self._answer().rpartition(":")[2])

    @property
    def url(self) -> str:
        """By name, since that is what the certificate says."""
        return f"smtp://127.0.0.1:{self.port}?tls={self.tls}"

    def order(self, **order: object) -> None:
        """Tell it what to do; returns when it does it."""
        with self._lock:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            self._answer()

    def heal(self) -> None:
        """Behave again."""
        self.order(clear=True)
        self.order(
            offer={"pipelining": True, "eight_bit": True, "smtputf8": True, "max_messages": None},
            certificate=[str(self.good.cert), str(self.good.key)],
        )

    def read(self) -> list[dict[str, Any]]:
        """All it has written down so far."""
        with self._lock:
            if self.book_path.exists():
                with self.book_path.open("rb") as file:
                    file.seek(self._read)
                    data = file.read()
                whole = data[: data.rfind(b"\n") + 1]
                self._read += len(whole)
                added = [json.loads(line) for line in whole.splitlines()]
                self._accepted += sum(1 for one in added if one["event"] == "accepted")
                self.book += added
            return self.book

    def accepted(self) -> int:
        self.read()
        return self._accepted

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the receiving server has died: see receiver.log")
        return line.strip()


def expired(good: Certificate) -> Certificate:
    """The same key and names, in a certificate whose time was over yesterday."""
    folder = good.cert.parent
    made = Certificate(folder / "expired.pem", good.key)
    request = folder / "expired.csr"
    run = {"check": True, "capture_output": True}
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    subprocess.run(["openssl", "req", "-new", "-key", str(good.key), "-subj", "/CN=localhost", "-addext", names,
                    "-out", str(request)], **run)  # type: ignore[call-overload]  # fmt: skip
    subprocess.run(["openssl", "x509", "-req", "-in", str(request), "-signkey", str(good.key), "-days", "-1",
                    "-copy_extensions", "copy", "-out", str(made.cert)], **run)  # type: ignore[call-overload]  # fmt: skip
    return made


def facts(one: Mapping[str, Any]) -> str:
    """A line of the book for people."""
    return " ".join(f"{name}={value}" for name, value in one.items() if value not in (None, "", False))
